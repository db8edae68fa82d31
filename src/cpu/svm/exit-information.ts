import { VECTOR } from '../../arch/exceptions.ts';
import { ACCESS } from '../../arch/paging/permissions.ts';
import { CR0 } from '../../arch/registers.ts';
import {
  EVENT,
  EVENT_TYPE,
  IOIO,
  IOIO_PORT_SHIFT,
  IOIO_SEG_SHIFT,
  NPF,
  TASK_SWITCH_HI,
} from '../../arch/vmcb.ts';
import type { Cpu } from '../cpu.ts';
import type { Event } from '../events/deliver.ts';
import type { GuestException } from '../guest-exception.ts';
import { CS } from '../layout.ts';
import type { TaskSwitch } from '../segmentation/task-switch.ts';

const TWO_TO_32 = 0x1_0000_0000;
/** Most instruction bytes that a #VMEXIT reports (APM vol. 2 15.8.4). */
const MOST_BYTES = 15;

/** What a #VMEXIT reports: the exit fields of the VMCB, in unsigned halves (APM vol. 2 15.7.1). */
export class ExitInformation {
  /** A code of VMEXIT; negative for the failures. */
  code = 0;
  info1 = 0;
  info1Hi = 0;
  info2 = 0;
  info2Hi = 0;
  /** nRIP, 0 for none. */
  nextRip = 0;
  /** EXITINTINFO. */
  event = 0;
  eventError = 0;
  /** How many bytes at CS:RIP follow in `bytes`. */
  byteCount = 0;
  /** The field at 0D0h whole: the count, then the bytes. */
  readonly bytes = new Uint32Array(4);
  readonly #bytes = new Uint8Array(this.bytes.buffer);

  /** An exit that says no more than its code. */
  begin(code: number): this {
    this.code = code;
    this.info1 = 0;
    this.info1Hi = 0;
    this.info2 = 0;
    this.info2Hi = 0;
    this.nextRip = 0;
    this.event = 0;
    this.eventError = 0;
    this.byteCount = 0;
    return this;
  }

  /** EXITINFO1 and 2 of an I/O instruction (APM vol. 2 15.10.2). `segment`: of the memory operand of a string form. */
  setIo(
    port: number,
    size: 1 | 2 | 4,
    isInput: boolean,
    isString: boolean,
    isRepeated: boolean,
    addressSize: 2 | 4,
    segment: number,
  ): void {
    this.info1 =
      (port << IOIO_PORT_SHIFT) |
      (isString ? IOIO.STRING | (segment << IOIO_SEG_SHIFT) : 0) |
      (isInput ? IOIO.IN : 0) |
      (isRepeated ? IOIO.REP : 0) |
      (size === 1 ? IOIO.SZ8 : size === 2 ? IOIO.SZ16 : IOIO.SZ32) |
      (addressSize === 2 ? IOIO.A16 : IOIO.A32);
  }

  /** EXITINFO1 and 2 of a task switch (APM vol. 2 15.14.1). `resumeFlag`: RF as the outgoing TSS would have it. */
  setTaskSwitch(selector: number, request: TaskSwitch, resumeFlag: boolean): void {
    this.info1 = selector & 0xffff;
    if (request.source === 'iret') this.info2Hi |= TASK_SWITCH_HI.IRET;
    if (request.source === 'jump') this.info2Hi |= TASK_SWITCH_HI.FAR_JUMP;
    if (resumeFlag) this.info2Hi |= TASK_SWITCH_HI.RF;
    if (request.errorCode < 0) return;
    this.info2 = request.errorCode;
    this.info2Hi |= TASK_SWITCH_HI.ERROR_CODE;
  }

  /** EXITINFO1 and 2 of a nested page fault (APM vol. 2 15.25.6). */
  setNestedFault({ errorCode, inGuestTable, guestAddress }: GuestException): void {
    this.info1 = errorCode;
    this.info1Hi = inGuestTable ? NPF.TABLE_HI : NPF.FINAL_HI;
    this.info2 = guestAddress % TWO_TO_32;
    this.info2Hi = Math.floor(guestAddress / TWO_TO_32);
  }

  /** An event was on its way (APM vol. 2 15.7.2). Error codes are pushed in protected mode only. */
  setEvent(cpu: Cpu, event: Event): void {
    const hasErrorCode = event.errorCode >= 0 && (cpu.state.cr0 & CR0.PE) !== 0;
    const vector = event.type === EVENT_TYPE.NMI ? VECTOR.NMI : event.vector;
    this.event = EVENT.VALID | event.type | vector | (hasErrorCode ? EVENT.EV : 0);
    this.eventError = hasErrorCode ? event.errorCode : 0;
  }

  /**
   * Reads the instruction at CS:`eip`, as far as neither the segment nor paging forbids it. Fetching looks like the
   * guest's own: it may set accessed bits.
   */
  fetchInstruction(cpu: Cpu, eip: number): void {
    const { exception, physical, state } = cpu;
    const { vector, errorCode, linear } = exception;
    const limit = state.segmentLimit(CS);
    const base = state.segmentBase(CS);
    this.#bytes.fill(0);
    let count = 0;
    let page = -1;
    for (; count < MOST_BYTES && eip + count <= limit; count++) {
      const place = (base + eip + count) >>> 0;
      if (page < 0 || (place & 0xfff) === 0) {
        page = cpu.paging.translate((place & ~0xfff) >>> 0, cpu.dataAccess | ACCESS.FETCH);
        if (page < 0 || !physical.isRam(page / 4096)) break;
      }
      this.#bytes[1 + count] = physical.read8(page + (place & 0xfff));
    }
    this.#bytes[0] = count;
    this.byteCount = count;
    exception.vector = vector;
    exception.errorCode = errorCode;
    exception.linear = linear;
  }
}
