/** The look of the HTML report: readable on paper and on a telephone, dark where the reader's system is. */
export const STYLE = `
:root { color-scheme: light dark; --ink: #1b1b1f; --paper: #fff; --line: #d5d5dc; --dim: #666b76; --good: #1f8a4c; --bad: #c62828; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8ec; --paper: #16171b; --line: #3a3c44; --dim: #9a9fab; --good: #5cc98a; --bad: #ff7b72; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 1rem; color: var(--ink); background: var(--paper); font: 15px/1.45 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0.4rem 0; }
h2 { font-size: 1.15rem; margin: 2rem 0 0.5rem; border-bottom: 1px solid var(--line); }
code, pre, .steps, .tables table { font-family: ui-monospace, monospace; font-size: 0.85em; }
.verdict { font-size: 1.1rem; font-weight: 600; }
.verdict.right { color: var(--good); } .verdict.wrong { color: var(--bad); }
table { border-collapse: collapse; }
caption { text-align: left; color: var(--dim); padding-bottom: 0.4rem; }
.heat { width: 100%; table-layout: fixed; }
.heat th { text-align: left; padding: 0.35rem; overflow-wrap: anywhere; }
.heat td { border: 2px solid var(--paper); padding: 0; text-align: center; }
.heat td.right { background: color-mix(in srgb, var(--good) 25%, var(--paper)); }
.heat td.wrong { background: color-mix(in srgb, var(--bad) calc(var(--heat) * 100%), var(--paper)); font-weight: 600; }
.heat td.skipped { color: var(--dim); }
.heat a { display: block; padding: 0.8rem 0.3rem; color: inherit; text-decoration: none; }
.heat a:hover, .heat a:focus { outline: 2px solid currentColor; }
.scenario { border-left: 3px solid var(--good); padding: 0.1rem 0 0.1rem 0.6rem; margin: 0.15rem 0; }
.scenario.wrong { border-color: var(--bad); }
.scenario > summary { cursor: pointer; } .scenario > summary span { color: var(--dim); }
.scenario.story > summary code { font-weight: 700; }
.mismatch { white-space: pre-wrap; border: 1px solid var(--bad); padding: 0.5rem; overflow-wrap: anywhere; }
.steps { width: 100%; display: block; overflow-x: auto; }
.steps th, .steps td, .tables th, .tables td { text-align: left; vertical-align: top; padding: 0.15rem 0.6rem 0.15rem 0; border-bottom: 1px solid var(--line); }
.steps tr.wrong > td { color: var(--bad); font-weight: 600; }
.steps tr.role td { color: var(--dim); } .steps tr.role b { color: var(--ink); }
.tables td { border: 0; } .tables summary { color: var(--dim); cursor: pointer; }
.mutants { list-style: none; padding: 0; display: grid; grid-template-columns: repeat(auto-fill, minmax(11rem, 1fr)); gap: 0.2rem; }
.mutants li { overflow-wrap: anywhere; } .mutants a { display: block; height: 100%; padding: 0.35rem; color: inherit; text-decoration: none; }
.mutants a:hover, .mutants a:focus { outline: 2px solid currentColor; } .mutants small { display: block; }
.legend span { padding: 0.15rem 0.5rem; } .legend span, .mutants li { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
.mutants .right, .legend .right { background: color-mix(in srgb, var(--good) 25%, var(--paper)); }
.mutants .checked, .legend .checked { background: color-mix(in srgb, #1976d2 28%, var(--paper)); } .scenario.checked { border-color: #1976d2; }
.mutants .proved, .legend .proved, .mutants .skipped, .legend .skipped { background: color-mix(in srgb, var(--dim) 25%, var(--paper)); } .scenario.proved, .mutants ~ .scenario.skipped { border-color: var(--dim); }
.mutants .wrong, .legend .wrong { background: color-mix(in srgb, var(--bad) 60%, var(--paper)); font-weight: 600; }
h3 { font-size: 1rem; margin: 0.8rem 0 0.3rem; }
@media (max-width: 40rem) { body { padding: 0.5rem; font-size: 14px; } .heat { font-size: 0.8rem; } .heat a { padding: 0.5rem 0.1rem; } }
@media print { body { max-width: none; font-size: 9pt; } .scenario:not(.story):not(.wrong) { display: none; } .steps { display: table; overflow: visible; } h2 { break-after: avoid; } tr { break-inside: avoid; } }
`;
