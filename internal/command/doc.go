// Package command is the one way vmmigrate runs another program.
//
// A program is started with an argument vector, never through a shell, so a
// name with spaces, quotes or a leading dash is just a name. It runs under
// LC_ALL=C so that its messages can be recognised, with both output pipes
// drained at once so that it can't block on a full one, and it ends when the
// context does. A failure is an *Error that carries the argument vector, the
// exit code and what the program said.
//
// Secrets travel only through Cmd.Stdin and Cmd.Inputs, which the program
// reads from pipes. They are in no argument vector and no environment, and
// whatever the program echoes of them is blotted out of Error.
//
// Local runs for real, ReadOnly lets only commands marked as changing nothing
// through (it is what `vmmigrate plan` holds), and Log records what was run.
package command
