package nbd

import (
	"encoding/binary"
	"fmt"
	"io"
)

// The numbers of the handshake ("Values", "Option types", "Option reply types",
// "NBD_INFO information types").
const (
	magicNBD     = 0x4e42444d41474943 // "NBDMAGIC"
	magicOption  = 0x49484156454f5054 // "IHAVEOPT"
	magicReply   = 0x3e889045565a9
	fixedStyle   = 1 << 0
	noZeroes     = 1 << 1
	optGo        = 7
	optStructure = 8
	optSetMeta   = 10
	repACK       = 1
	repInfo      = 3
	repContext   = 4
	repError     = 1 << 31
	infoExport   = 0
	infoBlock    = 3
	flagReadOnly = 1 << 1
	flagFlush    = 1 << 2
	flagZeroes   = 1 << 6
	flagSendDF   = 1 << 7
	// allocation is the context that tells data from holes.
	allocation = "base:allocation"
	// optionMax bounds what an option's reply may hold: they are short.
	optionMax = 64 << 10
)

// export is what the handshake told.
type export struct {
	size     int64
	readOnly bool
	// flush and zeroes say that it takes these requests.
	flush, zeroes bool
	// whole says that the server takes readWhole.
	whole bool
	// maxBlock is the most bytes of a request.
	maxBlock int64
	// context is the number of base:allocation, and mapped whether there is
	// one.
	context uint32
	mapped  bool
}

// handshake negotiates structured replies and the allocation map for the export
// of the empty name, and enters transmission. Who does not want to write takes no
// server that would let it.
func handshake(rw io.ReadWriter, writes bool) (export, error) {
	e := export{maxBlock: 32 << 20} // "Block sizes": what any server has to take
	var hello struct {
		Magic, Option uint64
		Flags         uint16
	}
	if err := binary.Read(rw, binary.BigEndian, &hello); err != nil {
		return e, fmt.Errorf("NBD handshake: %w", err)
	}
	if hello.Magic != magicNBD || hello.Option != magicOption || hello.Flags&fixedStyle == 0 {
		return e, &ProtocolError{"this is no NBD server of the fixed newstyle"}
	}
	if err := binary.Write(rw, binary.BigEndian, uint32(hello.Flags&(fixedStyle|noZeroes))); err != nil {
		return e, fmt.Errorf("NBD handshake: %w", err)
	}
	if err := option(rw, optStructure, nil, nil); err != nil {
		return e, err
	}
	meta := binary.BigEndian.AppendUint32(nil, 0) // the empty name
	meta = binary.BigEndian.AppendUint32(meta, 1)
	meta = binary.BigEndian.AppendUint32(meta, uint32(len(allocation)))
	meta = append(meta, allocation...)
	err := option(rw, optSetMeta, meta, func(kind uint32, data []byte) {
		if kind == repContext && len(data) >= 4 && string(data[4:]) == allocation {
			e.context, e.mapped = binary.BigEndian.Uint32(data), true
		}
	})
	if err != nil {
		return e, err
	}
	known := false
	wish := binary.BigEndian.AppendUint32(nil, 0)
	wish = binary.BigEndian.AppendUint16(wish, 1)
	wish = binary.BigEndian.AppendUint16(wish, infoBlock)
	err = option(rw, optGo, wish, func(kind uint32, data []byte) {
		if kind != repInfo || len(data) < 2 {
			return
		}
		switch info := binary.BigEndian.Uint16(data); {
		case info == infoExport && len(data) == 12:
			e.size = int64(binary.BigEndian.Uint64(data[2:]))
			flags := binary.BigEndian.Uint16(data[10:])
			e.readOnly, e.whole = flags&flagReadOnly != 0, flags&flagSendDF != 0
			e.flush, e.zeroes = flags&flagFlush != 0, flags&flagZeroes != 0
			known = true
		case info == infoBlock && len(data) == 14:
			if most := int64(binary.BigEndian.Uint32(data[10:])); most >= 4096 {
				e.maxBlock = min(e.maxBlock, most)
			}
		}
	})
	if err != nil {
		return e, err
	}
	if !known || e.size < 0 {
		return e, &ProtocolError{"the server did not tell the export's size"}
	}
	switch {
	case !writes && !e.readOnly:
		return e, &ProtocolError{"the server would take writes; it has to be a read-only one"}
	case writes && (e.readOnly || !e.flush || !e.zeroes):
		return e, &ProtocolError{"the server does not take writes, zeroes and flushes"}
	}
	return e, nil
}

// option sends one option and hands on what comes before its ACK.
func option(rw io.ReadWriter, number uint32, data []byte, each func(kind uint32, data []byte)) error {
	message := binary.BigEndian.AppendUint64(nil, magicOption)
	message = binary.BigEndian.AppendUint32(message, number)
	message = binary.BigEndian.AppendUint32(message, uint32(len(data)))
	if _, err := rw.Write(append(message, data...)); err != nil {
		return fmt.Errorf("NBD option %d: %w", number, err)
	}
	for {
		var reply struct {
			Magic                uint64
			Option, Kind, Length uint32
		}
		if err := binary.Read(rw, binary.BigEndian, &reply); err != nil {
			return fmt.Errorf("NBD option %d: %w", number, err)
		}
		if reply.Magic != magicReply || reply.Option != number || reply.Length > optionMax {
			return &ProtocolError{fmt.Sprintf("the server's answer to option %d makes no sense", number)}
		}
		body := make([]byte, reply.Length)
		if _, err := io.ReadFull(rw, body); err != nil {
			return fmt.Errorf("NBD option %d: %w", number, err)
		}
		switch {
		case reply.Kind == repACK:
			return nil
		case reply.Kind&repError != 0:
			return &ProtocolError{fmt.Sprintf("the server refused option %d (error %d): %s", number, reply.Kind&^repError, body)}
		case each != nil:
			each(reply.Kind, body)
		}
	}
}
