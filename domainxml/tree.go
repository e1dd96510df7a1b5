package domainxml

import (
	"slices"

	"github.com/beevik/etree"
)

// etree's own look-ups take any namespace when none is asked for, so that
// <x:disk> would pass for a <disk>. libvirt's XPath takes none; nor do these.

// kids are the children of one name and no prefix.
func kids(parent *etree.Element, tag string) []*etree.Element {
	var found []*etree.Element
	for _, token := range parent.Child {
		if e, ok := token.(*etree.Element); ok && e.Space == "" && e.Tag == tag {
			found = append(found, e)
		}
	}
	return found
}

// kid is the first child of one name, nil when there is none.
func kid(parent *etree.Element, tag string) *etree.Element {
	if found := kids(parent, tag); len(found) > 0 {
		return found[0]
	}
	return nil
}

func attrIndex(e *etree.Element, key string) int {
	return slices.IndexFunc(e.Attr, func(a etree.Attr) bool { return a.Space == "" && a.Key == key })
}

// attrValue is an attribute's value, "" when there is none.
func attrValue(e *etree.Element, key string) string {
	if at := attrIndex(e, key); at >= 0 {
		return e.Attr[at].Value
	}
	return ""
}

// walk visits an element and all below it in the order of the document. It
// goes no deeper where visit returns false.
func walk(e *etree.Element, visit func(*etree.Element) bool) {
	if !visit(e) {
		return
	}
	for _, token := range e.Child {
		if child, ok := token.(*etree.Element); ok {
			walk(child, visit)
		}
	}
}
