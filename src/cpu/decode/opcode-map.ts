import type { Form } from '../../isa/form.ts';
import { FORMS } from '../../isa/table.ts';

/** A form as the decoder tries it. */
export interface Candidate {
  readonly index: number;
  readonly form: Form;
  /** ModRM.mod = 3 wanted (R), unwanted (M), or either. */
  readonly mod: 'register' | 'memory' | 'any';
}

export interface OpcodeEntry {
  readonly modrm: boolean;
  readonly candidates: readonly Candidate[];
}

const MAPS = 4;

function modOf(form: Form): Candidate['mod'] {
  if (form.operands.some((spec) => spec.kind === 'M')) return 'memory';
  return form.operands.some(({ kind }) => kind === 'R' || kind === 'N' || kind === 'U') ? 'register' : 'any';
}

/** The more a form demands, the earlier it is tried: whole ModRM, prefix, digit. */
function demands(form: Form): number {
  const { fixedModrm, mandatoryPrefix, digit } = form.encoding;
  return (fixedModrm >= 0 ? 4 : 0) + (mandatoryPrefix !== 0 ? 2 : 0) + (digit >= 0 ? 1 : 0);
}

/** Index map * 256 + opcode. */
export type OpcodeMap = readonly (OpcodeEntry | undefined)[];

const FEATURES: readonly string[] = [...new Set(FORMS.flatMap(({ feature }) => feature ?? []))];
const known = new Map<string, OpcodeMap>();

/** Opcode to forms; processors with the same features share it. Forms whose feature is missing do not exist. */
export function opcodeMap(hasFeature: (name: string) => boolean): OpcodeMap {
  const key = FEATURES.filter(hasFeature).join();
  let map = known.get(key);
  if (map === undefined) known.set(key, (map = buildOpcodeMap(FORMS, hasFeature)));
  return map;
}

function buildOpcodeMap(forms: readonly Form[], hasFeature: (name: string) => boolean): OpcodeMap {
  const lists: Candidate[][] = Array.from({ length: MAPS * 256 }, () => []);
  forms.forEach((form, index) => {
    if (form.feature !== undefined && !hasFeature(form.feature)) return;
    const { map, opcode, plusRegister } = form.encoding;
    for (let low = 0; low < (plusRegister ? 8 : 1); low++) {
      lists[map * 256 + opcode + low]?.push({ index, form, mod: modOf(form) });
    }
  });
  return lists.map((candidates) => {
    if (candidates.length === 0) return undefined;
    // NOP (90) precedes XCHG eAX,Zv in the table; sorting is stable.
    candidates.sort((a, b) => demands(b.form) - demands(a.form));
    return { modrm: candidates.some((candidate) => candidate.form.encoding.modrm), candidates };
  });
}
