package hypervisor

import (
	"context"

	"github.com/digitalocean/go-libvirt"
)

// EventKind is what happened to a domain.
type EventKind string

// The lifecycle events of a domain (virDomainEventType).
const (
	EventDefined     EventKind = "defined"
	EventUndefined   EventKind = "undefined"
	EventStarted     EventKind = "started"
	EventSuspended   EventKind = "suspended"
	EventResumed     EventKind = "resumed"
	EventStopped     EventKind = "stopped"
	EventShutdown    EventKind = "shutdown"
	EventPMSuspended EventKind = "pmsuspended"
	EventCrashed     EventKind = "crashed"
	EventUnknown     EventKind = "unknown"
)

// eventKinds are in the order of virDomainEventType.
func eventKinds() []EventKind {
	return []EventKind{
		EventDefined, EventUndefined, EventStarted, EventSuspended, EventResumed,
		EventStopped, EventShutdown, EventPMSuspended, EventCrashed,
	}
}

// Event is something that happened to a domain.
type Event struct {
	Name, UUID string
	Kind       EventKind
	// Detail is libvirt's number for why, of the kind's own list.
	Detail int
}

// Events tells what happens to all domains from now on. The channel closes
// when ctx ends, and when the connection is lost: then what happened since is
// not known, and who must know looks at the states and subscribes again. For
// the same reason look once after subscribing.
func (c *Conn) Events(ctx context.Context) (<-chan Event, error) {
	inner, cancel := context.WithCancel(ctx)
	raw, err := ask(ctx, c, "tell of events", looks, func(l *libvirt.Libvirt) (<-chan libvirt.DomainEventLifecycleMsg, error) {
		return l.LifecycleEvents(inner)
	})
	if err != nil {
		cancel()
		return nil, err
	}
	events := make(chan Event)
	go func() {
		defer close(events)
		// go-libvirt's sender blocks until it is read: it is read to its
		// end even when nobody here listens any more.
		defer func() {
			go func() {
				for range raw { //nolint:revive // emptied, not used
				}
			}()
		}()
		defer cancel()
		for {
			select {
			case <-inner.Done():
				return
			case message, ok := <-raw:
				if !ok {
					return
				}
				select {
				case events <- eventOf(message):
				case <-inner.Done():
					return
				}
			}
		}
	}()
	return events, nil
}

func eventOf(message libvirt.DomainEventLifecycleMsg) Event {
	event := Event{Name: message.Dom.Name, UUID: formatUUID(message.Dom.UUID), Kind: EventUnknown, Detail: int(message.Detail)}
	if kinds := eventKinds(); message.Event >= 0 && int(message.Event) < len(kinds) {
		event.Kind = kinds[message.Event]
	}
	return event
}
