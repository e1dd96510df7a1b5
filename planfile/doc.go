// Package planfile is the file that `plan --save` writes, a person edits and
// `run --plan` carries out.
//
// The file is YAML with comments (docs/plan-file.schema.json describes it).
// Read is strict: what it does not know, what is there twice, a size without a
// unit, anything of the wrong type is an *Error with line and column, since a
// mistyped line in a batch of thirty would otherwise be found at the end of the
// night. The file never holds a key, only where keys are; an error about that
// part of the file never quotes it.
//
// A plan file says what was decided, and the host decides what can be done: the
// file's choices become migrate.Options, the plans are made anew from the facts
// of the moment, and Compare tells what has changed since.
package planfile
