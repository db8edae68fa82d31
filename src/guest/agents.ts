import { AGENT_STATE } from './agent-core.ts';
import { AGENT_LAYOUT } from './agent-layout.ts';
import { emitGdt, emitIdt } from './agent-tables.ts';
import { Assembler, address, type Program } from './assembler.ts';
import { emitL1Agent } from './l1-agent.ts';
import { emitL2Agent } from './l2-agent.ts';
import { emitProbeStubs, emitProbeTable } from './probe-forms.ts';

/** Multiboot 1 (specification 0.6.96, 3.1.1). No flags: an ELF image says itself where it goes. */
const MULTIBOOT_MAGIC = 0x1bad_b002;
const MULTIBOOT_FLAGS = 0;
/** Magic, flags, checksum. */
export const MULTIBOOT_HEADER = [
  MULTIBOOT_MAGIC,
  MULTIBOOT_FLAGS,
  -(MULTIBOOT_MAGIC + MULTIBOOT_FLAGS) >>> 0,
] as const;
const STACK_SIZE = 0x1000;
const USER_RETURN = 0x80;

/** Both agents as one program at AGENT_LAYOUT.IMAGE. The entry point is the label `l1-entry`. */
export interface Agents extends Program {
  /** Address of the entry point, for 32-bit protected mode without paging, as after a multiboot boot. */
  readonly entry: number;
  /** Address of a label. Throws if there is none. */
  readonly at: (label: string) => number;
}

let assembled: Agents | undefined;

/** The agents, assembled once. */
export function agents(): Agents {
  assembled ??= assemble();
  return assembled;
}

function assemble(): Agents {
  const a = new Assembler(AGENT_LAYOUT.IMAGE);
  a.data32(...MULTIBOOT_HEADER);
  emitL1Agent(a);
  emitL2Agent(a);
  emitProbeStubs(a, 'kernel');
  emitProbeTable(a, 'kernel');
  emitProbeTable(a, 'user');
  emitGdt(a);
  emitIdt(a, 'l1');
  emitIdt(a, 'l2');
  emitState(a);
  if (a.here > AGENT_LAYOUT.USER_CODE) throw new Error('The agents have outgrown the space for their code.');
  a.org(AGENT_LAYOUT.USER_CODE);
  emitProbeStubs(a, 'user');
  a.label('user-return');
  a.int(USER_RETURN);
  a.org(AGENT_LAYOUT.USER_STACK);
  const program = a.finish();
  const at = (label: string): number => {
    const value = program.labels.get(label);
    if (value === undefined) throw new Error(`The agents have no label "${label}".`);
    return value;
  };
  return { ...program, entry: at('l1-entry'), at };
}

/** What the agents remember between steps, and their stacks. */
function emitState(a: Assembler): void {
  a.align(16);
  a.label(AGENT_STATE.SCRIPT);
  a.data32(AGENT_LAYOUT.SCRIPT);
  a.label(AGENT_STATE.LOG);
  a.data32(AGENT_LAYOUT.LOG);
  a.label(AGENT_STATE.EXIT);
  a.data32(0xffff_ffff);
  a.label(AGENT_STATE.RUNNER);
  a.data32(0);
  a.label('l1-resume-at');
  a.data32(0);
  a.label('l2-resume-at');
  a.data32(address('l2-loop'));
  a.label('current-vmcb');
  a.data32(0);
  a.label('after-l2');
  a.data32(0);
  a.label('enter-flags');
  a.data32(0);
  // Address and both halves of the entry to mend.
  a.label('mend');
  a.data32(0, 0, 0);
  a.label('l2-software-registers');
  a.zero(6 * 4);
  a.align(16);
  for (const who of ['l1', 'l2']) {
    a.zero(STACK_SIZE);
    a.label(`${who}-stack-top`);
  }
}
