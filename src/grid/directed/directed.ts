import type { Scenario } from '../scenario.ts';
import { nestedScenarios } from './nested.ts';
import { nestedRightsScenarios } from './nested-rights.ts';
import { nestedRoleScenarios } from './nested-roles.ts';
import { nestedSyncScenarios } from './nested-sync.ts';
import { patScenarios } from './pat.ts';
import { pdpteScenarios } from './pdptes.ts';
import { rightsScenarios } from './rights.ts';
import { roleScenarios } from './roles.ts';
import { syncScenarios } from './sync.ts';
import { writeProtectScenarios } from './write-protect.ts';

/**
 * Scenarios that each show one thing that shadow paging, or nested paging, has been got wrong in: the bugs of KVM's history
 * as far as they can be had here, and the rules of src/l0/rules.ts one by one.
 */
export const directedScenarios = (): Scenario[] => [
  ...roleScenarios(),
  ...rightsScenarios(),
  ...pdpteScenarios(),
  ...syncScenarios(),
  ...nestedScenarios(),
  ...writeProtectScenarios(),
  ...nestedRightsScenarios(),
  ...nestedRoleScenarios(),
  ...nestedSyncScenarios(),
  ...patScenarios(),
];
