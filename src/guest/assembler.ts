import { CodeBuffer } from './code-buffer.ts';
import { type Encoded, encode, encodeBranch } from './encode.ts';
import type { Immediate, MemoryOperandSpec, Operand, RegisterOperand } from './operands.ts';

export type { Program } from './code-buffer.ts';
export * from './operands.ts';

type Register = RegisterOperand;
type Memory = MemoryOperandSpec;

/**
 * A small typed assembler for 16- and 32-bit x86 code, over iced-x86's encoder. One method per mnemonic, in
 * Intel's operand order; operands come from `operands.ts`:
 *
 *     const a = new Assembler(0x100000);
 *     a.label('loop');
 *     a.mov(eax, mem32(ebx, 8));
 *     a.add(mem32(address('total')), eax);
 *     a.jnz('loop');
 *     const { bytes, labels } = a.finish();
 *
 * Branches to labels are near ones. `emit` reaches every instruction that iced-x86 knows, by its name there;
 * `raw` appends bytes.
 */
export class Assembler extends CodeBuffer {
  #bits: 16 | 32;

  /**
   * @param origin address of the first byte.
   * @param bits default operand and address size: 32, or 16 for real mode and 16-bit segments.
   */
  constructor(origin: number, bits: 16 | 32 = 32) {
    super(origin);
    this.#bits = bits;
  }

  /** Switches between 16- and 32-bit code for what follows. */
  bits(bits: 16 | 32): void {
    this.#bits = bits;
  }

  /** Any instruction by iced-x86's mnemonic ("Mov", "Cmpxchg8b"), in the shortest form that fits. */
  emit(mnemonic: string, ...operands: readonly Operand[]): void {
    this.#append(encode(mnemonic, operands, this.#bits));
  }

  /** Like `emit`, with a LOCK prefix. */
  lock(mnemonic: string, ...operands: readonly Operand[]): void {
    this.#append(encode(mnemonic, operands, this.#bits, true));
  }

  /** A near branch by iced-x86's mnemonic ("Jmp", "Jne", "Call"). */
  branch(mnemonic: string, label: string): void {
    this.#append(encodeBranch(mnemonic, label, this.#bits));
  }

  #short(mnemonic: string, label: string): void {
    this.#append(encodeBranch(mnemonic, label, this.#bits, true));
  }

  #append({ bytes, fixups }: Encoded): void {
    const start = this.here - this.origin;
    this.append(bytes);
    for (const fixup of fixups) this.fixup({ ...fixup, at: start + fixup.at });
  }

  // Moves
  mov(to: Register | Memory, from: Register | Memory | Immediate): void {
    this.emit('Mov', to, from);
  }
  movzx(to: Register, from: Register | Memory): void {
    this.emit('Movzx', to, from);
  }
  movsx(to: Register, from: Register | Memory): void {
    this.emit('Movsx', to, from);
  }
  lea(to: Register, from: Memory): void {
    this.emit('Lea', to, from);
  }
  xchg(first: Register | Memory, second: Register): void {
    this.emit('Xchg', first, second);
  }
  push(value: Register | Memory | Immediate): void {
    if (typeof value === 'number' || value.kind === 'address') {
      this.emit(
        this.#bits === 32
          ? 'Pushd'
          : typeof value === 'number' && value === (value << 24) >> 24
            ? 'Pushw'
            : 'Push',
        value,
      );
    } else if (value.kind === 'register' && value.class === 'segment') {
      this.emit(this.#bits === 32 ? 'Pushd' : 'Pushw', value);
    } else {
      this.emit('Push', value);
    }
  }
  pop(to: Register | Memory): void {
    if (to.kind === 'register' && to.class === 'segment') this.emit(this.#bits === 32 ? 'Popd' : 'Popw', to);
    else this.emit('Pop', to);
  }
  pushad(): void {
    this.emit('Pushad');
  }
  popad(): void {
    this.emit('Popad');
  }
  pushfd(): void {
    this.emit('Pushfd');
  }
  popfd(): void {
    this.emit('Popfd');
  }

  // Arithmetic and logic
  add(to: Register | Memory, from: Register | Memory | Immediate): void {
    this.emit('Add', to, from);
  }
  adc(to: Register | Memory, from: Register | Memory | Immediate): void {
    this.emit('Adc', to, from);
  }
  sub(to: Register | Memory, from: Register | Memory | Immediate): void {
    this.emit('Sub', to, from);
  }
  sbb(to: Register | Memory, from: Register | Memory | Immediate): void {
    this.emit('Sbb', to, from);
  }
  and(to: Register | Memory, from: Register | Memory | Immediate): void {
    this.emit('And', to, from);
  }
  or(to: Register | Memory, from: Register | Memory | Immediate): void {
    this.emit('Or', to, from);
  }
  xor(to: Register | Memory, from: Register | Memory | Immediate): void {
    this.emit('Xor', to, from);
  }
  cmp(left: Register | Memory, right: Register | Memory | Immediate): void {
    this.emit('Cmp', left, right);
  }
  test(left: Register | Memory, right: Register | Immediate): void {
    this.emit('Test', left, right);
  }
  inc(to: Register | Memory): void {
    this.emit('Inc', to);
  }
  dec(to: Register | Memory): void {
    this.emit('Dec', to);
  }
  not(to: Register | Memory): void {
    this.emit('Not', to);
  }
  neg(to: Register | Memory): void {
    this.emit('Neg', to);
  }
  shl(to: Register | Memory, count: Register | number): void {
    this.emit('Shl', to, count);
  }
  shr(to: Register | Memory, count: Register | number): void {
    this.emit('Shr', to, count);
  }
  sar(to: Register | Memory, count: Register | number): void {
    this.emit('Sar', to, count);
  }
  rol(to: Register | Memory, count: Register | number): void {
    this.emit('Rol', to, count);
  }
  imul(to: Register, ...from: readonly (Register | Memory | number)[]): void {
    this.emit('Imul', to, ...from);
  }
  mul(by: Register | Memory): void {
    this.emit('Mul', by);
  }
  div(by: Register | Memory): void {
    this.emit('Div', by);
  }
  bt(of: Register | Memory, bit: Register | number): void {
    this.emit('Bt', of, bit);
  }
  bts(of: Register | Memory, bit: Register | number): void {
    this.emit('Bts', of, bit);
  }

  // Branches
  jmp(target: string | Register | Memory): void {
    if (typeof target === 'string') this.branch('Jmp', target);
    else this.emit('Jmp', target);
  }
  call(target: string | Register | Memory): void {
    if (typeof target === 'string') this.branch('Call', target);
    else this.emit('Call', target);
  }
  /** Far jump to `selector:label`, as after a write of CR0.PE. */
  jmpFar(selector: number, label: string, bits: 16 | 32 = this.#bits): void {
    if (bits !== this.#bits) this.raw(0x66);
    this.raw(0xea);
    if (bits === 32) this.data32({ kind: 'address', label, offset: 0 });
    else this.data16({ kind: 'address', label, offset: 0 });
    this.data16(selector);
  }
  ja(label: string): void {
    this.branch('Ja', label);
  }
  jae(label: string): void {
    this.branch('Jae', label);
  }
  jb(label: string): void {
    this.branch('Jb', label);
  }
  jbe(label: string): void {
    this.branch('Jbe', label);
  }
  jc(label: string): void {
    this.branch('Jb', label);
  }
  jnc(label: string): void {
    this.branch('Jae', label);
  }
  jz(label: string): void {
    this.branch('Je', label);
  }
  jnz(label: string): void {
    this.branch('Jne', label);
  }
  je(label: string): void {
    this.branch('Je', label);
  }
  jne(label: string): void {
    this.branch('Jne', label);
  }
  js(label: string): void {
    this.branch('Js', label);
  }
  jns(label: string): void {
    this.branch('Jns', label);
  }
  jl(label: string): void {
    this.branch('Jl', label);
  }
  jge(label: string): void {
    this.branch('Jge', label);
  }
  jle(label: string): void {
    this.branch('Jle', label);
  }
  jg(label: string): void {
    this.branch('Jg', label);
  }
  /** Reaches 128 bytes only. */
  jecxz(label: string): void {
    this.#short('Jecxz', label);
  }
  /** Reaches 128 bytes only. */
  loop(label: string): void {
    this.#short('Loop', label);
  }
  ret(pop = 0): void {
    const mnemonic = this.#bits === 32 ? 'Retnd' : 'Retnw';
    if (pop === 0) this.emit(mnemonic);
    else this.emit(mnemonic, pop);
  }
  int(vector: number): void {
    this.emit('Int', vector);
  }
  iretd(): void {
    this.emit('Iretd');
  }

  // Strings. A repeat prefix comes first, as in `a.rep(); a.movsd();`
  rep(): void {
    this.raw(0xf3);
  }
  repne(): void {
    this.raw(0xf2);
  }
  cmpsb(): void {
    this.raw(0xa6);
  }
  movsb(): void {
    this.raw(0xa4);
  }
  movsd(): void {
    this.#string32(0xa5);
  }
  stosb(): void {
    this.raw(0xaa);
  }
  stosd(): void {
    this.#string32(0xab);
  }
  lodsb(): void {
    this.raw(0xac);
  }
  lodsd(): void {
    this.#string32(0xad);
  }
  scasb(): void {
    this.raw(0xae);
  }
  #string32(opcode: number): void {
    if (this.#bits === 16) this.raw(0x66);
    this.raw(opcode);
  }

  // Flags and plain system instructions
  cld(): void {
    this.emit('Cld');
  }
  std(): void {
    this.emit('Std');
  }
  cli(): void {
    this.emit('Cli');
  }
  sti(): void {
    this.emit('Sti');
  }
  clc(): void {
    this.emit('Clc');
  }
  stc(): void {
    this.emit('Stc');
  }
  nop(): void {
    this.raw(0x90);
  }
  pause(): void {
    this.emit('Pause');
  }
  hlt(): void {
    this.emit('Hlt');
  }
  cpuid(): void {
    this.emit('Cpuid');
  }
  rdtsc(): void {
    this.emit('Rdtsc');
  }
  rdmsr(): void {
    this.emit('Rdmsr');
  }
  wrmsr(): void {
    this.emit('Wrmsr');
  }
  wbinvd(): void {
    this.emit('Wbinvd');
  }
  invlpg(of: Memory): void {
    this.emit('Invlpg', of);
  }
  lgdt(from: Memory): void {
    this.emit('Lgdt', from);
  }
  lidt(from: Memory): void {
    this.emit('Lidt', from);
  }
  lldt(selector: Register): void {
    this.emit('Lldt', selector);
  }
  ltr(selector: Register): void {
    this.emit('Ltr', selector);
  }
  in(to: Register, port: Register | number): void {
    this.emit('In', to, port);
  }
  out(port: Register | number, from: Register): void {
    this.emit('Out', port, from);
  }

  // SVM (APM vol. 3): the operand of VMRUN, VMLOAD and VMSAVE is the VMCB's physical address in EAX.
  vmrun(): void {
    this.emit('Vmrund');
  }
  vmload(): void {
    this.emit('Vmloadd');
  }
  vmsave(): void {
    this.emit('Vmsaved');
  }
  vmmcall(): void {
    this.emit('Vmmcall');
  }
  clgi(): void {
    this.emit('Clgi');
  }
  stgi(): void {
    this.emit('Stgi');
  }
  /** Invalidates the page at EAX in the ASID in ECX. */
  invlpga(): void {
    this.emit('Invlpgad');
  }
}
