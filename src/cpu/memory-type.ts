import { combinePatTypes, effectiveType, type MemoryType, mtrrType, patType } from '../arch/memory-types.ts';
import { MEMORY_TYPE, MSR, PAT_RESET } from '../arch/msrs.ts';
import { CR0 } from '../arch/registers.ts';
import type { Cpu } from './cpu.ts';
import { CACHING } from './paged-memory.ts';

/**
 * The effective memory type of a linear page under the present ASID (APM vol. 2 7.8.5, 15.25.8), for inspection: nothing is
 * cached here. Undefined if the TLB has no translation of it; with paging off there are none but under nested paging.
 */
export function memoryTypeOf(cpu: Cpu, linear: number): MemoryType | undefined {
  const page = cpu.paging.cachedPage(linear);
  if (page === undefined) return undefined;
  // Either CR0.CD disables caching (15.25.8).
  if (((cpu.state.cr0 | cpu.svm.hostCr0) & CR0.CD) !== 0) return MEMORY_TYPE.UC;
  const mtrr = mtrrType((index) => cpu.msrs.get(index), page.address);
  return effectiveType(pageType(cpu, page.caching), mtrr);
}

/** What the tables of both stages say. A CPU without PAT has the one that others are reset to. */
function pageType({ msrs }: Cpu, caching: number): MemoryType {
  const pat = msrs.get(MSR.PAT) ?? PAT_RESET;
  const own = (caching & CACHING.UNPAGED) !== 0 ? MEMORY_TYPE.WB : patType(pat, caching & CACHING.INDEX);
  if ((caching & CACHING.NESTED) === 0) return own;
  return combinePatTypes(own, patType(msrs.hostPat ?? pat, (caching >> CACHING.HOST_SHIFT) & CACHING.INDEX));
}
