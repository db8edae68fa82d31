import { type Form, form } from './form.ts';
import { X87_FORMS, type X87Form } from './x87/index.ts';

/** The operation name of an x87 form: the processor finds the form again by its number. */
export const X87_OPERATION = /^x87:(\d+)$/;

const hex = (value: number): string => value.toString(16).toUpperCase();

/** Register forms D8 C0+i are those with ModRM.mod = 3 and the digit that the range implies. */
function encodingOf(entry: X87Form): { encoding: string; operands: string } {
  const opcode = hex(entry.opcode);
  if (entry.digit >= 0) return { encoding: `${opcode} /${entry.digit}`, operands: 'Mx' };
  if (entry.usesRegister) return { encoding: `${opcode} /${(entry.modrm >> 3) & 7}`, operands: 'Rx' };
  return { encoding: entry.modrm < 0 ? opcode : `${opcode} ${hex(entry.modrm)}`, operands: '' };
}

const FEATURES: Readonly<Record<'cmov' | 'sse3', string>> = { cmov: 'cmov', sse3: 'pni' };

/** The x87 instructions as lines of the instruction table; `isa/x87` holds what they do. */
export const X87: readonly Form[] = [
  ...X87_FORMS.map((entry, index) => {
    const { encoding, operands } = encodingOf(entry);
    const feature = entry.feature === undefined ? 'fpu' : FEATURES[entry.feature];
    return form(entry.name, encoding, operands, `x87:${index}`, { feature });
  }),
  form('FXSAVE', '0F AE /0', 'Mx', 'fxsave', { feature: 'fxsr' }),
  form('FXRSTOR', '0F AE /1', 'Mx', 'fxrstor', { feature: 'fxsr' }),
];
