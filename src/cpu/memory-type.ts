import { combinePatTypes, effectiveType, type MemoryType, mtrrType, patType } from '../arch/memory-types.ts';
import { MEMORY_TYPE, MSR, PAT_RESET } from '../arch/msrs.ts';
import { CR0 } from '../arch/registers.ts';
import type { Cpu } from './cpu.ts';
import { CACHING } from './paged-memory.ts';

/**
 * The effective memory type of a linear page of a guest under nested paging (APM vol. 2 15.25.8), for inspection: nothing is
 * cached here. Undefined if the TLB has no translation of the page through two stages.
 */
export function memoryTypeOf(cpu: Cpu, linear: number): MemoryType | undefined {
  const page = cpu.paging.cachedPage(linear);
  if (page === undefined || (page.caching & CACHING.NESTED) === 0) return undefined;
  // Either CR0.CD disables caching.
  if (((cpu.state.cr0 | cpu.svm.hostCr0) & CR0.CD) !== 0) return MEMORY_TYPE.UC;
  const mtrr = mtrrType((index) => cpu.msrs.get(index), page.address);
  return effectiveType(combinedType(cpu, page.caching), mtrr);
}

/** What the entries of both stages say. A CPU without PAT has the one that others are reset to. */
function combinedType({ msrs }: Cpu, caching: number): MemoryType {
  const pat = msrs.get(MSR.PAT) ?? PAT_RESET;
  const isUnpaged = (caching & CACHING.UNPAGED) !== 0;
  const guest = isUnpaged ? MEMORY_TYPE.WB : patType(pat, caching & CACHING.INDEX);
  return combinePatTypes(
    guest,
    patType(msrs.hostPat ?? pat, (caching >> CACHING.HOST_SHIFT) & CACHING.INDEX),
  );
}
