import { ByteWriter } from './bytes.ts';
import { ValueType, type ValueTypeName } from './expression.ts';
import { FunctionBuilder, type FunctionReference, type Signature } from './function.ts';

const signatureOf = (parameters: readonly ValueTypeName[], results: readonly ValueTypeName[]): Signature => ({
  parameters,
  results,
});

export { signatureOf as signature };

interface DefinedFunction extends FunctionReference {
  body?: FunctionBuilder;
}

/**
 * Puts a module together (core spec 5.5): imported functions and memory first, then functions, one table of
 * functions for indirect calls, exports. Functions may be declared before they are defined, so that they can call
 * each other.
 */
export class ModuleBuilder {
  readonly #types: Signature[] = [];
  readonly #imports: { module: string; name: string; type: number }[] = [];
  readonly #functions: DefinedFunction[] = [];
  readonly #table: FunctionReference[] = [];
  readonly #exports: { name: string; target: FunctionReference }[] = [];
  #memory: { module: string; name: string; minimumPages: number; maximumPages: number } | undefined;

  /** Index of a function type, made on first use. */
  type(signature: Signature): number {
    const same = (a: readonly ValueTypeName[], b: readonly ValueTypeName[]): boolean =>
      a.length === b.length && a.every((type, place) => type === b[place]);
    const found = this.#types.findIndex(
      (known) => same(known.parameters, signature.parameters) && same(known.results, signature.results),
    );
    return found >= 0 ? found : this.#types.push(signature) - 1;
  }

  /** Sizes in 64 KiB pages. */
  importMemory(module: string, name: string, minimumPages: number, maximumPages: number): void {
    this.#memory = { module, name, minimumPages, maximumPages };
  }

  importFunction(module: string, name: string, signature: Signature): FunctionReference {
    if (this.#functions.length > 0) throw new Error('imports come before the first function');
    this.#imports.push({ module, name, type: this.type(signature) });
    return { index: this.#imports.length - 1, signature };
  }

  declare(signature: Signature): FunctionReference {
    const made: DefinedFunction = { index: this.#imports.length + this.#functions.length, signature };
    this.type(signature);
    this.#functions.push(made);
    return made;
  }

  define(declared: FunctionReference, write: (body: FunctionBuilder) => void): void {
    const target = this.#functions[declared.index - this.#imports.length];
    if (!target || target.body) throw new Error('a function is defined once, after it was declared');
    target.body = new FunctionBuilder(declared.signature);
    write(target.body);
  }

  function(signature: Signature, write: (body: FunctionBuilder) => void): FunctionReference {
    const made = this.declare(signature);
    this.define(made, write);
    return made;
  }

  /** Appends a function to table 0 and returns its slot. */
  tableSlot(target: FunctionReference): number {
    return this.#table.push(target) - 1;
  }

  export(name: string, target: FunctionReference): void {
    this.#exports.push({ name, target });
  }

  encode(): Uint8Array<ArrayBuffer> {
    const out = new ByteWriter();
    out.bytes([0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
    this.#section(out, 1, this.#types, (body, type) => {
      body.byte(0x60);
      for (const list of [type.parameters, type.results]) {
        body.unsigned(list.length);
        for (const entry of list) body.byte(ValueType[entry]);
      }
    });
    this.#importSection(out);
    this.#section(out, 3, this.#functions, (body, entry) => body.unsigned(this.type(entry.signature)));
    this.#section(out, 4, [this.#table.length], (body, size) => {
      body.bytes([0x70, 0x00]);
      body.unsigned(size);
    });
    this.#section(out, 7, this.#exports, (body, entry) => {
      body.name(entry.name);
      body.byte(0x00);
      body.unsigned(entry.target.index);
    });
    this.#section(out, 9, [this.#table], (body, table) => {
      body.bytes([0x00, 0x41, 0x00, 0x0b]);
      body.unsigned(table.length);
      for (const entry of table) body.unsigned(entry.index);
    });
    this.#section(out, 10, this.#functions, (body, entry) => {
      if (!entry.body) throw new Error(`function ${entry.index} was declared and never defined`);
      entry.body.encode(body);
    });
    return out.view.slice();
  }

  #importSection(out: ByteWriter): void {
    const body = new ByteWriter();
    body.unsigned(this.#imports.length + (this.#memory ? 1 : 0));
    for (const entry of this.#imports) {
      body.name(entry.module);
      body.name(entry.name);
      body.byte(0x00);
      body.unsigned(entry.type);
    }
    if (this.#memory) {
      body.name(this.#memory.module);
      body.name(this.#memory.name);
      body.bytes([0x02, 0x01]);
      body.unsigned(this.#memory.minimumPages);
      body.unsigned(this.#memory.maximumPages);
    }
    out.byte(2);
    out.unsigned(body.length);
    out.bytes(body.view);
  }

  #section<T>(
    out: ByteWriter,
    id: number,
    entries: readonly T[],
    write: (body: ByteWriter, entry: T) => void,
  ): void {
    const body = new ByteWriter();
    body.unsigned(entries.length);
    for (const entry of entries) write(body, entry);
    out.byte(id);
    out.unsigned(body.length);
    out.bytes(body.view);
  }
}
