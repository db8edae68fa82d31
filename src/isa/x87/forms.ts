import { EFLAGS } from '../../arch/registers.ts';
import { ROUND } from './control.ts';
import { type X87Form, x87Form } from './form.ts';
import * as admin from './instructions/administration.ts';
import {
  changeSign,
  fscale,
  fxtract,
  partialRemainder,
  toRegister,
  toTop,
  unary,
  withMemory,
} from './instructions/arithmetic.ts';
import { compareMemory, compareRegister, compareToFlags, examine, test } from './instructions/compare.ts';
import { CONSTANTS, loadConstant } from './instructions/constants.ts';
import { loadEnvironment, restore, save, storeEnvironment } from './instructions/environment.ts';
import {
  fcos,
  fpatan,
  fptan,
  fsin,
  fsincos,
  fyl2x,
  fyl2xp1,
  powerOfTwo,
} from './instructions/transcendental.ts';
import {
  conditionalMove,
  exchange,
  loadExtended,
  loadFloat,
  loadInteger,
  loadRegister,
  storeExtended,
  storeMemory,
  storeRegister,
  storeRegisterQuietly,
} from './instructions/transfer.ts';

const { CF, ZF, PF } = EFLAGS;
const TRUNCATE = ROUND.ZERO << 10;
const CMOV = { feature: 'cmov' } as const;

// biome-ignore format: table
const ARITHMETIC: readonly X87Form[] = [
  x87Form('FADD',   'D8 /0 m32fp',  withMemory('add', 'widenF32'),       { reads: 4 }),
  x87Form('FMUL',   'D8 /1 m32fp',  withMemory('mul', 'widenF32'),       { reads: 4 }),
  x87Form('FSUB',   'D8 /4 m32fp',  withMemory('sub', 'widenF32'),       { reads: 4 }),
  x87Form('FSUBR',  'D8 /5 m32fp',  withMemory('sub', 'widenF32', true), { reads: 4 }),
  x87Form('FDIV',   'D8 /6 m32fp',  withMemory('div', 'widenF32'),       { reads: 4 }),
  x87Form('FDIVR',  'D8 /7 m32fp',  withMemory('div', 'widenF32', true), { reads: 4 }),
  x87Form('FADD',   'DC /0 m64fp',  withMemory('add', 'widenF64'),       { reads: 8 }),
  x87Form('FMUL',   'DC /1 m64fp',  withMemory('mul', 'widenF64'),       { reads: 8 }),
  x87Form('FSUB',   'DC /4 m64fp',  withMemory('sub', 'widenF64'),       { reads: 8 }),
  x87Form('FSUBR',  'DC /5 m64fp',  withMemory('sub', 'widenF64', true), { reads: 8 }),
  x87Form('FDIV',   'DC /6 m64fp',  withMemory('div', 'widenF64'),       { reads: 8 }),
  x87Form('FDIVR',  'DC /7 m64fp',  withMemory('div', 'widenF64', true), { reads: 8 }),
  x87Form('FIADD',  'DA /0 m32int', withMemory('add', 'fromI32'),        { reads: 4 }),
  x87Form('FIMUL',  'DA /1 m32int', withMemory('mul', 'fromI32'),        { reads: 4 }),
  x87Form('FISUB',  'DA /4 m32int', withMemory('sub', 'fromI32'),        { reads: 4 }),
  x87Form('FISUBR', 'DA /5 m32int', withMemory('sub', 'fromI32', true),  { reads: 4 }),
  x87Form('FIDIV',  'DA /6 m32int', withMemory('div', 'fromI32'),        { reads: 4 }),
  x87Form('FIDIVR', 'DA /7 m32int', withMemory('div', 'fromI32', true),  { reads: 4 }),
  x87Form('FIADD',  'DE /0 m16int', withMemory('add', 'fromI16'),        { reads: 2 }),
  x87Form('FIMUL',  'DE /1 m16int', withMemory('mul', 'fromI16'),        { reads: 2 }),
  x87Form('FISUB',  'DE /4 m16int', withMemory('sub', 'fromI16'),        { reads: 2 }),
  x87Form('FISUBR', 'DE /5 m16int', withMemory('sub', 'fromI16', true),  { reads: 2 }),
  x87Form('FIDIV',  'DE /6 m16int', withMemory('div', 'fromI16'),        { reads: 2 }),
  x87Form('FIDIVR', 'DE /7 m16int', withMemory('div', 'fromI16', true),  { reads: 2 }),
  x87Form('FADD',   'D8 C0+i', toTop('add')),
  x87Form('FMUL',   'D8 C8+i', toTop('mul')),
  x87Form('FSUB',   'D8 E0+i', toTop('sub')),
  x87Form('FSUBR',  'D8 E8+i', toTop('sub', true)),
  x87Form('FDIV',   'D8 F0+i', toTop('div')),
  x87Form('FDIVR',  'D8 F8+i', toTop('div', true)),
  x87Form('FADD',   'DC C0+i', toRegister('add')),
  x87Form('FMUL',   'DC C8+i', toRegister('mul')),
  x87Form('FSUBR',  'DC E0+i', toRegister('sub', true)),
  x87Form('FSUB',   'DC E8+i', toRegister('sub')),
  x87Form('FDIVR',  'DC F0+i', toRegister('div', true)),
  x87Form('FDIV',   'DC F8+i', toRegister('div')),
  x87Form('FADDP',  'DE C0+i', toRegister('add', false, true)),
  x87Form('FMULP',  'DE C8+i', toRegister('mul', false, true)),
  x87Form('FSUBRP', 'DE E0+i', toRegister('sub', true, true)),
  x87Form('FSUBP',  'DE E8+i', toRegister('sub', false, true)),
  x87Form('FDIVRP', 'DE F0+i', toRegister('div', true, true)),
  x87Form('FDIVP',  'DE F8+i', toRegister('div', false, true)),
  x87Form('FCHS',    'D9 E0', changeSign((word) => word ^ 0x8000)),
  x87Form('FABS',    'D9 E1', changeSign((word) => word & 0x7fff)),
  x87Form('FXTRACT', 'D9 F4', fxtract),
  x87Form('FPREM1',  'D9 F5', partialRemainder('remainderNearest')),
  x87Form('FPREM',   'D9 F8', partialRemainder('remainder')),
  x87Form('FSQRT',   'D9 FA', unary('sqrt')),
  x87Form('FRNDINT', 'D9 FC', unary('roundToInteger')),
  x87Form('FSCALE',  'D9 FD', fscale),
];

// biome-ignore format: table
const COMPARISONS: readonly X87Form[] = [
  x87Form('FCOM',    'D8 /2 m32fp',  compareMemory('widenF32', 0), { reads: 4 }),
  x87Form('FCOMP',   'D8 /3 m32fp',  compareMemory('widenF32', 1), { reads: 4 }),
  x87Form('FCOM',    'DC /2 m64fp',  compareMemory('widenF64', 0), { reads: 8 }),
  x87Form('FCOMP',   'DC /3 m64fp',  compareMemory('widenF64', 1), { reads: 8 }),
  x87Form('FICOM',   'DA /2 m32int', compareMemory('fromI32', 0),  { reads: 4 }),
  x87Form('FICOMP',  'DA /3 m32int', compareMemory('fromI32', 1),  { reads: 4 }),
  x87Form('FICOM',   'DE /2 m16int', compareMemory('fromI16', 0),  { reads: 2 }),
  x87Form('FICOMP',  'DE /3 m16int', compareMemory('fromI16', 1),  { reads: 2 }),
  x87Form('FCOM',    'D8 D0+i', compareRegister('compare', 0)),
  x87Form('FCOMP',   'D8 D8+i', compareRegister('compare', 1)),
  x87Form('FCOM2',   'DC D0+i', compareRegister('compare', 0)),
  x87Form('FCOMP3',  'DC D8+i', compareRegister('compare', 1)),
  x87Form('FCOMP5',  'DE D0+i', compareRegister('compare', 1)),
  x87Form('FCOMPP',  'DE D9',   compareRegister('compare', 2)),
  x87Form('FUCOM',   'DD E0+i', compareRegister('compareQuiet', 0)),
  x87Form('FUCOMP',  'DD E8+i', compareRegister('compareQuiet', 1)),
  x87Form('FUCOMPP', 'DA E9',   compareRegister('compareQuiet', 2)),
  x87Form('FCOMI',   'DB F0+i', compareToFlags('compare', false),      CMOV),
  x87Form('FCOMIP',  'DF F0+i', compareToFlags('compare', true),       CMOV),
  x87Form('FUCOMI',  'DB E8+i', compareToFlags('compareQuiet', false), CMOV),
  x87Form('FUCOMIP', 'DF E8+i', compareToFlags('compareQuiet', true),  CMOV),
  x87Form('FTST',    'D9 E4', test),
  x87Form('FXAM',    'D9 E5', examine),
];

// biome-ignore format: table
const TRANSFERS: readonly X87Form[] = [
  x87Form('FLD',    'D9 /0 m32fp',  loadFloat('fromF32'),       { reads: 4 }),
  x87Form('FLD',    'DD /0 m64fp',  loadFloat('fromF64'),       { reads: 8 }),
  x87Form('FLD',    'DB /5 m80fp',  loadExtended,               { reads: 10 }),
  x87Form('FILD',   'DF /0 m16int', loadInteger('fromI16'),     { reads: 2 }),
  x87Form('FILD',   'DB /0 m32int', loadInteger('fromI32'),     { reads: 4 }),
  x87Form('FILD',   'DF /5 m64int', loadInteger('fromI64'),     { reads: 8 }),
  x87Form('FBLD',   'DF /4 m80bcd', loadInteger('fromDecimal'), { reads: 10 }),
  x87Form('FST',    'D9 /2 m32fp',  storeMemory('toF32', 4, false), { writes: 4 }),
  x87Form('FSTP',   'D9 /3 m32fp',  storeMemory('toF32', 4, true),  { writes: 4 }),
  x87Form('FST',    'DD /2 m64fp',  storeMemory('toF64', 8, false), { writes: 8 }),
  x87Form('FSTP',   'DD /3 m64fp',  storeMemory('toF64', 8, true),  { writes: 8 }),
  x87Form('FSTP',   'DB /7 m80fp',  storeExtended,                  { writes: 10 }),
  x87Form('FIST',   'DF /2 m16int', storeMemory('toI16', 2, false), { writes: 2 }),
  x87Form('FISTP',  'DF /3 m16int', storeMemory('toI16', 2, true),  { writes: 2 }),
  x87Form('FIST',   'DB /2 m32int', storeMemory('toI32', 4, false), { writes: 4 }),
  x87Form('FISTP',  'DB /3 m32int', storeMemory('toI32', 4, true),  { writes: 4 }),
  x87Form('FISTP',  'DF /7 m64int', storeMemory('toI64', 8, true),  { writes: 8 }),
  x87Form('FISTTP', 'DF /1 m16int', storeMemory('toI16', 2, true, TRUNCATE), { writes: 2, feature: 'sse3' }),
  x87Form('FISTTP', 'DB /1 m32int', storeMemory('toI32', 4, true, TRUNCATE), { writes: 4, feature: 'sse3' }),
  x87Form('FISTTP', 'DD /1 m64int', storeMemory('toI64', 8, true, TRUNCATE), { writes: 8, feature: 'sse3' }),
  x87Form('FBSTP',  'DF /6 m80bcd', storeMemory('toDecimal', 10, true),      { writes: 10 }),
  x87Form('FLD',    'D9 C0+i', loadRegister),
  x87Form('FST',    'DD D0+i', storeRegister(false)),
  x87Form('FSTP',   'DD D8+i', storeRegister(true)),
  x87Form('FSTP1',  'D9 D8+i', storeRegisterQuietly),
  x87Form('FSTP8',  'DF D0+i', storeRegister(true)),
  x87Form('FSTP9',  'DF D8+i', storeRegister(true)),
  x87Form('FXCH',   'D9 C8+i', exchange),
  x87Form('FXCH4',  'DD C8+i', exchange),
  x87Form('FXCH7',  'DF C8+i', exchange),
  x87Form('FCMOVB',   'DA C0+i', conditionalMove(CF, false),      CMOV),
  x87Form('FCMOVE',   'DA C8+i', conditionalMove(ZF, false),      CMOV),
  x87Form('FCMOVBE',  'DA D0+i', conditionalMove(CF | ZF, false), CMOV),
  x87Form('FCMOVU',   'DA D8+i', conditionalMove(PF, false),      CMOV),
  x87Form('FCMOVNB',  'DB C0+i', conditionalMove(CF, true),       CMOV),
  x87Form('FCMOVNE',  'DB C8+i', conditionalMove(ZF, true),       CMOV),
  x87Form('FCMOVNBE', 'DB D0+i', conditionalMove(CF | ZF, true),  CMOV),
  x87Form('FCMOVNU',  'DB D8+i', conditionalMove(PF, true),       CMOV),
  x87Form('FLD1',   'D9 E8', loadConstant(CONSTANTS.one)),
  x87Form('FLDL2T', 'D9 E9', loadConstant(CONSTANTS.log2Ten)),
  x87Form('FLDL2E', 'D9 EA', loadConstant(CONSTANTS.log2E)),
  x87Form('FLDPI',  'D9 EB', loadConstant(CONSTANTS.pi)),
  x87Form('FLDLG2', 'D9 EC', loadConstant(CONSTANTS.log10Of2)),
  x87Form('FLDLN2', 'D9 ED', loadConstant(CONSTANTS.ln2)),
  x87Form('FLDZ',   'D9 EE', loadConstant(CONSTANTS.zero)),
];

const CONTROL = { control: true } as const;
const NO_WAIT = { control: true, noWait: true } as const;

// biome-ignore format: table
const ADMINISTRATION: readonly X87Form[] = [
  x87Form('FLDENV',  'D9 /4 m14/28byte',  loadEnvironment,    { ...CONTROL, reads: 'environment' }),
  x87Form('FLDCW',   'D9 /5 m2byte',      admin.loadControl,  { ...CONTROL, reads: 2 }),
  x87Form('FNSTENV', 'D9 /6 m14/28byte',  storeEnvironment,   { ...NO_WAIT, writes: 'environment' }),
  x87Form('FNSTCW',  'D9 /7 m2byte',      admin.storeControl, { ...NO_WAIT, writes: 2 }),
  x87Form('FRSTOR',  'DD /4 m94/108byte', restore,            { ...CONTROL, reads: 'state' }),
  x87Form('FNSAVE',  'DD /6 m94/108byte', save,               { ...NO_WAIT, writes: 'state' }),
  x87Form('FNSTSW',  'DD /7 m2byte',      admin.storeStatus,  { ...NO_WAIT, writes: 2 }),
  x87Form('FNSTSW',  'DF E0', admin.storeStatusToAx,  NO_WAIT),
  x87Form('FNCLEX',  'DB E2', admin.clearExceptions,  NO_WAIT),
  x87Form('FNINIT',  'DB E3', admin.initialize,       NO_WAIT),
  x87Form('FENI',    'DB E0', admin.nothing,          NO_WAIT),
  x87Form('FDISI',   'DB E1', admin.nothing,          NO_WAIT),
  x87Form('FSETPM',  'DB E4', admin.nothing,          NO_WAIT),
  x87Form('FWAIT',   '9B',    admin.nothing,          CONTROL),
  x87Form('FNOP',    'D9 D0', admin.nothing),
  x87Form('FDECSTP', 'D9 F6', admin.rotateStack(-1)),
  x87Form('FINCSTP', 'D9 F7', admin.rotateStack(1)),
  x87Form('FFREE',   'DD C0+i', admin.free(false)),
  x87Form('FFREEP',  'DF C0+i', admin.free(true)),
];

// biome-ignore format: table
const TRANSCENDENTALS: readonly X87Form[] = [
  x87Form('F2XM1',   'D9 F0', powerOfTwo),
  x87Form('FYL2X',   'D9 F1', fyl2x),
  x87Form('FPTAN',   'D9 F2', fptan),
  x87Form('FPATAN',  'D9 F3', fpatan),
  x87Form('FYL2XP1', 'D9 F9', fyl2xp1),
  x87Form('FSINCOS', 'D9 FB', fsincos),
  x87Form('FSIN',    'D9 FE', fsin),
  x87Form('FCOS',    'D9 FF', fcos),
];

/** Every form of opcodes D8 to DF, and FWAIT. What they leave out is #UD. */
export const X87_FORMS: readonly X87Form[] = [
  ...ARITHMETIC,
  ...TRANSCENDENTALS,
  ...COMPARISONS,
  ...TRANSFERS,
  ...ADMINISTRATION,
];

const MODRM_VALUES = 256;
const BY_MODRM: readonly (X87Form | undefined)[] = indexForms();

function indexForms(): (X87Form | undefined)[] {
  const index = new Array<X87Form | undefined>(8 * MODRM_VALUES);
  for (const form of X87_FORMS) {
    if (form.opcode < 0xd8) continue;
    const row = (form.opcode - 0xd8) * MODRM_VALUES;
    if (form.digit < 0) {
      index.fill(form, row + form.modrm, row + form.modrm + (form.usesRegister ? 8 : 1));
      continue;
    }
    for (const mod of [0x00, 0x40, 0x80]) {
      index.fill(form, row + mod + form.digit * 8, row + mod + form.digit * 8 + 8);
    }
  }
  return index;
}

/** The form of an opcode byte D8 to DF with its ModRM byte; undefined is #UD. */
export const findX87Form = (opcode: number, modrm: number): X87Form | undefined =>
  BY_MODRM[(opcode - 0xd8) * MODRM_VALUES + modrm];
