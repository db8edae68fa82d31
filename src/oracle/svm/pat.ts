/** The PAT MSR of a host and of its guests (APM vol. 2 7.8, 15.25.4). */

/** A guest whose VMCB has a G_PAT. */
export interface PatHolder {
  gPat: bigint;
}

/** Memory types 0 UC, 1 WC, 4 WT, 5 WP, 6 WB, 7 UC-, one in each byte; what else a byte says is reserved (APM vol. 2 7.8.1). */
export const isReservedPat = (pat: bigint): boolean =>
  Array.from({ length: 8 }, (_, i) => (pat >> BigInt(8 * i)) & 0xffn).some(
    (type) => type > 7n || type === 2n || type === 3n,
  );

/**
 * Whose PAT an instruction means: a guest with nested paging has G_PAT for its own, which #VMEXIT saves; without it there is
 * one PAT for host and guest (APM vol. 2 15.25.2, 15.25.4).
 */
export class PatRegisters {
  /** What firmware left there nobody knows. */
  #host: bigint | undefined;
  #guest: PatHolder | undefined;

  /** @param guest of nested paging; undefined for one without */
  vmrun(guest: PatHolder | undefined): void {
    this.#guest = guest;
  }

  vmexit(): void {
    this.#guest = undefined;
  }

  /** RDMSR; undefined: the value may be any. */
  read(): bigint | undefined {
    return this.#guest === undefined ? this.#host : this.#guest.gPat;
  }

  /** WRMSR. False: #GP(0), and nothing is written (APM vol. 2 7.8.1). */
  write(value: bigint): boolean {
    if (isReservedPat(value)) return false;
    if (this.#guest === undefined) this.#host = value;
    else this.#guest.gPat = value;
    return true;
  }
}
