/**
 * The work itself could not be done (no network, no apt, a disk that is full), though it was asked for rightly.
 * The message is a sentence for the user; the command ends with status 1.
 */
export class Failure extends Error {
  override readonly name = 'Failure';
}
