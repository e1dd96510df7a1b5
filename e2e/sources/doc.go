// Package sources holds every kind of source against real tools: images of all
// formats and features, each compared as the guest sees it, what hostile and
// damaged ones are refused for, and every kind of device moved on a test host.
package sources
