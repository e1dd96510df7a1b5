// Package pages runs what the documentation tells people to type. The tutorial
// and every how-to page is played from top to bottom on a host of its own, with
// the real tools: each command of a console block at root's prompt, what is
// asked for typed at a terminal, and each line that the page shows looked for in
// what was printed.
//
// How a page is written is in the repository's HACKING.md; page.go reads pages,
// match.go says what it is for a printed text to be the shown one.
//
//	go test -tags e2e -count=1 -v -run Pages/keys ./e2e/pages
package pages
