import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type Browser, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { directedScenarios } from '../../src/grid/directed/directed.ts';
import { matrix } from '../../src/grid/matrix/matrix.ts';
import { type HuntVerdict, hunt, mutantHost } from '../../src/grid/mutants/hunt.ts';
import { mutantNamed } from '../../src/grid/mutants/mutants.ts';
import { htmlReport } from '../../src/grid/report/html.ts';
import { mutantFindings } from '../../src/grid/report/mutants.ts';
import { mutantsPage } from '../../src/grid/report/mutants-page.ts';
import { matrixReport } from '../../src/grid/report/report.ts';
import { tellStory } from '../../src/grid/report/story.ts';
import type { CellVerdict } from '../../src/grid/run-grid.ts';

const CHROMIUM = '/usr/bin/chromium';
const missing = existsSync(CHROMIUM) ? undefined : `there is no ${CHROMIUM}`;

const open = (): Promise<Browser> =>
  chromium.launch({
    executablePath: CHROMIUM,
    args: ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking'],
  });

/** How much wider than the window a page is. */
const overflow = (page: Page): Promise<number> =>
  page.locator('html').evaluate(({ scrollWidth, clientWidth }) => scrollWidth - clientWidth);

/** A cell as a run would leave it, its first scenario wrong. */
function cellVerdict({ l1, way, l2, scenarios }: ReturnType<typeof matrix>[number]): CellVerdict {
  const summaries = scenarios.map(({ name, about }, index) => {
    const mismatches = l2 === 'PAE' && index === 0 ? ['expected 1\n  saw <2>'] : [];
    return { name, about, probes: 10, mismatches };
  });
  const mismatches = summaries.reduce((sum, summary) => sum + summary.mismatches.length, 0);
  const probes = 10 * scenarios.length;
  return {
    on: 'shadow/pae',
    l1,
    way,
    l2,
    scenarios: scenarios.length,
    switches: 0,
    probes,
    mismatches,
    skipped: [],
    details: [],
    summaries,
  };
}

describe.skipIf(missing !== undefined)(
  `the HTML report in a browser${missing === undefined ? '' : ` (skipped, because ${missing})`}`,
  () => {
    let folder = '';
    let browser: Browser;
    let page: Page;
    const requests: string[] = [];

    beforeAll(async () => {
      folder = mkdtempSync(join(tmpdir(), 'umbra-page-'));
      const file = join(folder, 'grid.html');
      const cells = matrix();
      const told = cells[7].scenarios.find(({ steps }) => steps.length < 60) ?? cells[7].scenarios[0];
      const report = matrixReport(cells.map(cellVerdict), 'A test.');
      writeFileSync(file, htmlReport(report, [tellStory(told)]));
      browser = await open();
      page = await browser.newPage();
      page.on('request', (request) => requests.push(request.url()));
      await page.goto(pathToFileURL(file).href);
    }, 60_000);
    afterAll(async () => {
      await browser?.close();
      rmSync(folder, { recursive: true, force: true });
    });

    it('loads nothing but itself', () => {
      expect(requests).toEqual([page.url()]);
    });

    it('leads from a cell of the heat map to its scenarios', async () => {
      await page
        .getByRole('link', { name: /1 of \d+ wrong/ })
        .last()
        .click();
      expect(new URL(page.url()).hash).toBe('#shadow-pae-L1-PAE-with-NPT-L2-PAE');
      const section = page.locator('#shadow-pae-L1-PAE-with-NPT-L2-PAE');
      await expect
        .poll(() => section.evaluate((element) => element.getBoundingClientRect().top))
        .toBeLessThan(200);
    });

    it('opens a story with its steps, roles and tables', async () => {
      const story = page.locator('details.story');
      expect(await story.count()).toBe(1);
      const steps = story.locator('table.steps');
      expect(await steps.isVisible()).toBe(false);
      await story.locator('summary').first().click();
      expect(await steps.isVisible()).toBe(true);
      expect(await story.locator('tr.role').first().textContent()).toMatch(/^root role l3 8-byte/);
      const tables = story.locator('tr.tables details').first();
      await tables.locator('summary').click();
      expect(await tables.textContent()).toContain("the guest's entry and frame");
    });

    it('shows a wrong scenario when a link leads to it', async () => {
      const [wrong] = matrix()[matrix().length - 1].scenarios;
      await page.goto(`${page.url().split('#')[0]}#shadow-pae-${wrong.name.replaceAll(/[^a-z0-9]+/gi, '-')}`);
      const mismatch = page.locator('pre.mismatch', { hasText: 'saw <2>' }).last();
      await expect.poll(() => mismatch.isVisible()).toBe(true);
    });

    it('fits a small screen', async () => {
      await page.setViewportSize({ width: 360, height: 740 });
      expect(await overflow(page)).toBeLessThanOrEqual(0);
    });

    it('prints with its stories open', async () => {
      const pdf = await page.pdf({ format: 'A4' });
      expect(pdf.subarray(0, 5).toString()).toBe('%PDF-');
      expect(pdf.length).toBeGreaterThan(20_000);
    });
  },
);

describe.skipIf(missing !== undefined)(
  `the page of the mutants in a browser${missing === undefined ? '' : ` (skipped, because ${missing})`}`,
  () => {
    let folder = '';
    let browser: Browser;
    let page: Page;
    const requests: string[] = [];

    const verdicts: HuntVerdict[] = [
      hunt(mutantNamed('wp-not-in-role')),
      {
        mutant: 'guest-mode-set-too-late',
        on: 'shadow/pae',
        finding: {
          caught: 'by --check',
          scenario: 'directed/faults-intercepted',
          step: 4,
          story: 'a <role>',
        },
        scenarios: 1,
        asExpected: true,
      },
      {
        mutant: 'no-flush-on-vmrun',
        on: 'shadow/pae',
        finding: { caught: 'never' },
        scenarios: 110,
        asExpected: true,
      },
      {
        mutant: 'nx-not-forced',
        on: 'shadow/pae',
        finding: { caught: 'never' },
        scenarios: 110,
        asExpected: false,
      },
    ];

    beforeAll(async () => {
      folder = mkdtempSync(join(tmpdir(), 'umbra-page-'));
      const file = join(folder, 'mutants.html');
      const toggled = directedScenarios().find(({ name }) => name === 'directed/wp-toggled')!;
      const mutant = mutantNamed('wp-not-in-role');
      const story = tellStory(toggled, 'shadow/pae', (watch) => mutantHost(mutant, false, { watch }));
      writeFileSync(file, mutantsPage(mutantFindings(verdicts), new Map([['wp-not-in-role', story]])));
      browser = await open();
      page = await browser.newPage();
      page.on('request', (request) => requests.push(request.url()));
      await page.goto(pathToFileURL(file).href);
    }, 60_000);
    afterAll(async () => {
      await browser?.close();
      rmSync(folder, { recursive: true, force: true });
    });

    it('loads nothing but itself, and says how many are what', async () => {
      expect(requests).toEqual([page.url()]);
      expect(await page.locator('.verdict.wrong').textContent()).toBe(
        '4 mutants: 1 caught by a probe, 1 only by --check, 1 proved to be no bug, 1 survived.',
      );
      expect(await page.locator('.mutants li.right, .mutants li.checked, .mutants li.proved').count()).toBe(
        3,
      );
      expect(await page.locator('.mutants li.wrong').textContent()).toMatch(/^nx-not-forced SURVIVED/);
    });

    it("leads from a mutant to what caught it, with L0's tables behind the wrong step", async () => {
      await page.getByRole('link', { name: 'wp-not-in-role' }).click();
      const mutant = page.locator('#wp-not-in-role');
      await expect.poll(() => mutant.getAttribute('open')).not.toBe(null);
      expect(await mutant.locator('summary').first().textContent()).toMatch(
        /^wp-not-in-role caught by a probe, directed\/wp-toggled, step \d+$/,
      );
      const wrong = mutant.locator('tr.wrong').first();
      expect(await wrong.locator('td').last().textContent()).toBe('value 0xe00001');
      const behind = mutant.locator('details.behind').first();
      expect(await behind.isVisible()).toBe(true);
      expect(await behind.textContent()).toMatch(
        /^L0's MMU before and behind step (\d+)\s.*\sbefore step \1: root role l3 4-byte .*\sbehind step \1: root role l3 4-byte /s,
      );
    });

    it('shows why the others were not caught by a probe', async () => {
      await page.getByRole('link', { name: 'no-flush-on-vmrun' }).click();
      await expect.poll(() => page.locator('#no-flush-on-vmrun p').nth(1).isVisible()).toBe(true);
      expect(await page.locator('#no-flush-on-vmrun').textContent()).toContain('No bug: ');
      expect(await page.locator('#guest-mode-set-too-late').textContent()).toContain('No guest sees it: ');
      expect(await page.locator('#nx-not-forced').textContent()).toContain('not what its entry says');
    });

    it('fits a small screen, and prints', async () => {
      await page.setViewportSize({ width: 360, height: 740 });
      expect(await overflow(page)).toBeLessThanOrEqual(0);
      const pdf = await page.pdf({ format: 'A4' });
      expect(pdf.subarray(0, 5).toString()).toBe('%PDF-');
      expect(pdf.length).toBeGreaterThan(20_000);
    });
  },
);
