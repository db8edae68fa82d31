import { UNAVAILABLE_STATUS } from './exit-status.ts';

/**
 * The work itself could not be done (no network, no apt, a disk that is full), though it was asked for rightly.
 * The message is a sentence for the user; the command ends with the status.
 */
export class Failure extends Error {
  override readonly name = 'Failure';
  readonly status: number;

  constructor(message: string, status: number = UNAVAILABLE_STATUS) {
    super(message);
    this.status = status;
  }
}
