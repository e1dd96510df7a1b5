package domainxml

import (
	"hash/maphash"
	"strings"
)

// Comparison is what became of a domain's XML in libvirt's hands.
type Comparison struct {
	// Lost is what was wanted and is missing or different. A clone with any of
	// it is not the domain that was asked for.
	Lost []Change
	// Normalised is what libvirt writes differently or leaves out and that
	// means the same, each with the reason.
	Normalised []Change
	// Added is what libvirt put in: addresses, defaults, controllers, aliases.
	Added []Change
}

// Compare holds the XML that libvirt dumps of a domain, inactive and with
// secrets, against the XML it was defined from. libvirt sorts devices and
// fills in what is not said, so order and additions are no loss. It returns a
// *SyntaxError or *TooLargeError when one can't be read.
func Compare(wanted, dumped []byte) (Comparison, error) {
	before, err := load(wanted)
	if err != nil {
		return Comparison{}, err
	}
	after, err := load(dumped)
	if err != nil {
		return Comparison{}, err
	}
	c := &comparer{seed: maphash.MakeSeed()}
	c.kids(before.nodes(), after.nodes())
	return c.Comparison, nil
}

type comparer struct {
	Comparison
	seed maphash.Seed
}

// lost files a difference under Lost, or under Normalised when libvirt is
// known to write such a thing in another way.
func (c *comparer) lost(change Change, n *node, attribute string) {
	if why := harmless(change, n, attribute); why != "" {
		change.Why = why
		c.Normalised = append(c.Normalised, change)
		return
	}
	c.Lost = append(c.Lost, change)
}

func (c *comparer) nodes(a, b *node) {
	after := make(map[string]string, len(b.attrs))
	for _, x := range b.attrs {
		after[x.key] = x.value
	}
	before := make(map[string]bool, len(a.attrs))
	for _, x := range a.attrs {
		before[x.key] = true
		value, kept := after[x.key]
		switch {
		case x.key == "xmlns" || strings.HasPrefix(x.key, "xmlns:"):
			// Names are compared with their namespaces resolved.
		case !kept:
			c.lost(Change{Op: Removed, Path: a.path(x.label), Old: shown(x.key, x.value)}, a, x.key)
		case value != x.value && !sameSize(a, b, x.key):
			c.lost(Change{Op: Changed, Path: a.path(x.label), Old: shown(x.key, x.value), New: shown(x.key, value)}, a, x.key)
		}
	}
	for _, x := range b.attrs {
		if _, declares := strings.CutPrefix(x.key, "xmlns"); !before[x.key] && !declares {
			c.Added = append(c.Added, Change{Op: Added, Path: b.path(x.label), New: shown(x.key, x.value)})
		}
	}
	c.text(a, b)
	c.kids(a, b)
}

// text compares the texts of two elements, which libvirt trims.
func (c *comparer) text(a, b *node) {
	was, is := a.flat(), b.flat()
	switch {
	case was == is || sameSize(a, b, ""):
	case was == "":
		c.Added = append(c.Added, Change{Op: Added, Path: b.path() + "/text()", New: is})
	case is == "":
		c.lost(Change{Op: Removed, Path: a.path() + "/text()", Old: was}, a, "text()")
	default:
		c.lost(Change{Op: Changed, Path: a.path() + "/text()", Old: was, New: is}, a, "text()")
	}
}

// flat is an element's own text.
func (n *node) flat() string {
	var b strings.Builder
	for _, kid := range n.kids {
		if kid.key == "text()" {
			b.WriteString(kid.text)
		}
	}
	return strings.TrimSpace(b.String())
}

// kids pairs the elements of two parents by name: first those that are equal,
// then those that bear the same identity, then the rest in order.
func (c *comparer) kids(a, b *node) {
	left, right := byKey(a), byKey(b)
	for _, key := range left.order {
		mine, theirs := left.groups[key], right.groups[key]
		if len(mine) > 1 || len(theirs) > 1 {
			mine, theirs = c.match(mine, theirs, func(n *node) uint64 { return n.sum(c.seed) })
			mine, theirs = c.match(mine, theirs, func(n *node) uint64 { return n.identity(c.seed, true) })
			mine, theirs = c.match(mine, theirs, func(n *node) uint64 { return n.identity(c.seed, false) })
		}
		for i, n := range mine {
			if i < len(theirs) {
				c.nodes(n, theirs[i])
				continue
			}
			c.lost(Change{Op: Removed, Path: n.path(), Old: n.String()}, n, "")
		}
		for i := len(mine); i < len(theirs); i++ {
			c.Added = append(c.Added, Change{Op: Added, Path: theirs[i].path(), New: theirs[i].String()})
		}
	}
	for _, key := range right.order {
		if len(left.groups[key]) == 0 {
			for _, n := range right.groups[key] {
				c.Added = append(c.Added, Change{Op: Added, Path: n.path(), New: n.String()})
			}
		}
	}
}

// match compares the nodes of equal sign (0 is none) and returns the rest.
func (c *comparer) match(mine, theirs []*node, sign func(*node) uint64) (restMine, restTheirs []*node) {
	found := make(map[uint64][]int)
	for i, n := range theirs {
		if s := sign(n); s != 0 {
			found[s] = append(found[s], i)
		}
	}
	taken := make(map[int]bool)
	for _, n := range mine {
		s := sign(n)
		if s == 0 || len(found[s]) == 0 {
			restMine = append(restMine, n)
			continue
		}
		i := found[s][0]
		found[s] = found[s][1:]
		taken[i] = true
		c.nodes(n, theirs[i])
	}
	for i, n := range theirs {
		if !taken[i] {
			restTheirs = append(restTheirs, n)
		}
	}
	return restMine, restTheirs
}

type grouped struct {
	order  []string
	groups map[string][]*node
}

func byKey(n *node) grouped {
	g := grouped{groups: make(map[string][]*node)}
	for _, kid := range n.kids {
		if kid.source == nil {
			continue
		}
		if g.groups[kid.key] == nil {
			g.order = append(g.order, kid.key)
		}
		g.groups[kid.key] = append(g.groups[kid.key], kid)
	}
	return g
}

// sum is a digest of all that is in a node.
func (n *node) sum(seed maphash.Seed) uint64 {
	if n.digest != 0 {
		return n.digest
	}
	var h maphash.Hash
	h.SetSeed(seed)
	n.parts(&h)
	for _, kid := range n.kids {
		if kid.source != nil {
			maphash.WriteComparable(&h, kid.sum(seed))
		}
	}
	n.digest = h.Sum64() | 1
	return n.digest
}

func (n *node) parts(h *maphash.Hash) {
	part := func(s string) {
		maphash.WriteComparable(h, s)
	}
	part(n.key)
	part(n.flat())
	var all uint64 // the order of attributes makes no difference
	for _, a := range n.attrs {
		all += maphash.Comparable(h.Seed(), a.key+"\x00"+a.value)
	}
	maphash.WriteComparable(h, all)
}

// identity is a digest of what tells a node from its namesakes, or 0. The
// model tells one USB controller from its companions, but libvirt may have
// filled it in.
func (n *node) identity(seed maphash.Seed, model bool) uint64 {
	for _, kid := range n.kids {
		for _, a := range kid.attrs {
			if kid.key == "target" && a.key == "dev" || kid.key == "mac" && a.key == "address" {
				return maphash.Comparable(seed, kid.key+"\x00"+strings.ToLower(a.value)) | 1
			}
		}
	}
	var sign string
	for _, a := range n.attrs {
		switch a.key {
		case "name", "id", "index", "type", "vcpu", "dev", "iothread", "mode", "model":
			if a.key == "model" && !model {
				continue
			}
			sign += a.key + "\x00" + a.value + "\x00"
		}
	}
	if sign == "" {
		return 0
	}
	return maphash.Comparable(seed, sign) | 1
}
