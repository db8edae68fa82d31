import { runHostText } from '../run-host.ts';
import { type MutantFinding, type MutantOutcome, mutantSum, placeOf } from './mutants.ts';
import { htmlPage, idOf, plural, text } from './page.ts';
import type { Story } from './story.ts';
import { storyBody } from './story-steps.ts';

/** How a mutant looks on the page: class and word of its cell. */
const LOOKS: Readonly<Record<MutantOutcome, { readonly state: string; readonly word: string }>> = {
  'caught by a probe': { state: 'right', word: 'probe' },
  'caught only by --check': { state: 'checked', word: '--check' },
  'proved to be no bug': { state: 'proved', word: 'no bug' },
  survived: { state: 'wrong', word: 'SURVIVED' },
  'not caught there': { state: 'skipped', word: 'not caught there' },
  'not run': { state: 'skipped', word: 'not run' },
};

const stateOf = ({ outcome, asExpected }: MutantFinding): string =>
  asExpected ? LOOKS[outcome].state : 'wrong';

/**
 * A hunt as one page that needs nothing else: a cell for each mutant, which leads to its history, what caught it, and the
 * story of that scenario on it.
 * @param stories of scenarios on mutants, by the names of the mutants
 */
export function mutantsPage(findings: readonly MutantFinding[], stories: ReadonlyMap<string, Story>): string {
  const right = findings.every(({ asExpected }) => asExpected);
  return htmlPage({
    title: 'The mutants',
    verdict: `${text(mutantSum(findings))}.`,
    right,
    about:
      'Each mutant is L0 with one rule answered wrongly: a bug that KVM has had, or one of the same kind. The grid runs on ' +
      'each until a probe differs from what the oracle permits, or, where no guest can see the mutant, until ' +
      '<code>--check</code> finds an invariant of L0 broken. A mutant that is no bug has its proof.',
    main: `${legend(findings)}
<ul class="mutants">
${findings.map(cell).join('\n')}
</ul>
${findings.map((finding) => details(finding, stories.get(finding.name))).join('\n')}`,
  });
}

const legend = (findings: readonly MutantFinding[]): string =>
  `<p class="legend">${[...new Set(findings.map(({ outcome }) => outcome))]
    .map((outcome) => `<span class="${LOOKS[outcome].state}">${text(outcome)}</span>`)
    .join(' ')}</p>`;

function cell(finding: MutantFinding): string {
  const { name, outcome, asExpected } = finding;
  const word = asExpected ? LOOKS[outcome].word : `${LOOKS[outcome].word}, not as its entry says`;
  return `<li class="${stateOf(finding)}"><a href="#${idOf(name)}">${text(name)} <small>${text(word)}</small></a></li>`;
}

function details(finding: MutantFinding, told: Story | undefined): string {
  const { name, history, on, home, mended, outcome, asExpected, story, why, proof, unseen, scenarios } =
    finding;
  const place = placeOf(finding);
  const paragraph = (words: string | undefined, before = ''): string =>
    words === undefined ? '' : `<p>${before}${text(words)}</p>\n`;
  const steps = told === undefined ? '' : `<h3>${text(told.name)} on this mutant</h3>\n${storyBody(told)}\n`;
  return `<details id="${idOf(name)}" class="scenario ${stateOf(finding)}">
<summary><code>${text(name)}</code> <span>${text(outcome)}${place === '' ? '' : `, ${text(place)}`}</span></summary>
${paragraph(history)}${paragraph(runHostText(home), 'It lives in ')}${on === home ? '' : paragraph(runHostText(on), 'It was hunted in ')}${paragraph(why, 'Not run: ')}${paragraph(mended, 'KVM: mended ')}${asExpected ? '' : '<p><strong>This is not what its entry says.</strong></p>\n'}${paragraph(unseen, 'No guest sees it: ')}${paragraph(proof, 'No bug: ')}${story === undefined ? '' : `<pre class="mismatch">${text(story)}</pre>\n`}${steps}<p>${plural(scenarios, 'scenario')} run on it.</p>
</details>`;
}
