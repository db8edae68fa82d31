/** Operations on each lane of two vectors; `ps`, `pd`: packed singles, doubles. */
export type VectorName =
  | `${'add' | 'sub' | 'mul' | 'div' | 'sqrt' | 'min' | 'max' | 'compare'}.${'ps' | 'pd'}`
  | 'reciprocal.ps'
  | 'reciprocalRoot.ps'
  | 'ps.pd'
  | 'pd.ps'
  | 'dq.ps'
  | 'pi.ps'
  | `${'ps' | 'pd'}.${'dq' | 'pi'}`;

/** Operations on single lanes. `order` gives EFLAGS. */
export type ScalarName =
  | `${'add' | 'sub' | 'mul' | 'div' | 'sqrt' | 'min' | 'max' | 'compare' | 'order'}.${'ss' | 'sd'}`
  | 'reciprocal.ss'
  | 'reciprocalRoot.ss'
  | 'ss.sd'
  | 'sd.ss'
  | 'si.ss'
  | `${'ss' | 'sd'}.si`;
