package planfile

import (
	"fmt"
	"math"
	"math/big"
	"regexp"
	"strings"
)

// sizePattern is a decimal number and a unit. Like lvcreate and dd, a bare K,
// M, G or T means 2^10 and so on.
var sizePattern = regexp.MustCompile(`^([0-9]{1,20})(?:\.([0-9]{1,6}))? ?(B|[KMGTP]|[KMGTP]iB)$`)

const units = "KMGTP"

// parseSize reads a size in bytes.
func parseSize(text string) (int64, error) {
	parts := sizePattern.FindStringSubmatch(text)
	if parts == nil {
		if _, ok := new(big.Int).SetString(text, 10); ok {
			return 0, fmt.Errorf("the size %s lacks a unit: write %s B, or KiB, MiB, GiB, TiB", text, text)
		}
		return 0, fmt.Errorf("%q is no size; write it like 20 GiB, 512 MiB or 1000448 B", text)
	}
	value, ok := new(big.Rat).SetString(parts[1] + "." + parts[2] + "0")
	if !ok {
		return 0, fmt.Errorf("%q is no size", text)
	}
	if i := strings.Index(units, parts[3][:1]); i >= 0 {
		value.Mul(value, new(big.Rat).SetInt(new(big.Int).Lsh(big.NewInt(1), uint(10*(i+1)))))
	}
	if !value.IsInt() {
		return 0, fmt.Errorf("%q is no whole number of bytes", text)
	}
	if !value.Num().IsInt64() || value.Num().Int64() > math.MaxInt64/2 {
		return 0, fmt.Errorf("%q is larger than any disk", text)
	}
	if value.Sign() == 0 {
		return 0, fmt.Errorf("%q is no size of a disk", text)
	}
	return value.Num().Int64(), nil
}

// formatSize writes a size so that parseSize reads back every byte of it: in
// the largest unit that it is a whole number of.
func formatSize(size int64) string {
	unit := "B"
	for i := 0; i < len(units) && size != 0 && size%1024 == 0; i++ {
		size, unit = size/1024, units[i:i+1]+"iB"
	}
	return fmt.Sprintf("%d %s", size, unit)
}
