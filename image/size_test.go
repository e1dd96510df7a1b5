package image

import (
	"testing"

	"pgregory.net/rapid"
)

func TestTheImageMadeHasTheClustersOfTheOneItTakesThePlaceOf(t *testing.T) {
	for _, c := range []struct {
		layer Layer
		want  NewSpec
	}{
		{Layer{Size: 1 << 30, Cluster: 64 << 10}, NewSpec{Size: 1 << 30, Cluster: 64 << 10}},
		{Layer{Size: 1 << 30, Cluster: 512}, NewSpec{Size: 1 << 30, Cluster: 64 << 10}},
		{Layer{Size: 512, Cluster: 2 << 20, Features: []string{"version 3", "extended L2"}}, NewSpec{Size: 512, Cluster: 2 << 20, ExtendedL2: true}},
	} {
		if got := Like(Chain{c.layer, {Size: 7}}); got != c.want {
			t.Errorf("%+v: %+v", c.layer, got)
		}
	}
}

// What qemu-img 7.2 measured as "fully-allocated-size".
func TestAFullImageIsAsLargeAsQEMUMeasuresIt(t *testing.T) {
	for _, c := range []struct {
		spec NewSpec
		want int64
	}{
		{NewSpec{Size: 1 << 30, Cluster: 64 << 10}, 1074135040},
		{NewSpec{Size: 1 << 40, Cluster: 64 << 10}, 1099679662080},
		{NewSpec{Size: 10 << 30, Cluster: 64 << 10, ExtendedL2: true}, 10740629504},
		{NewSpec{Size: 512, Cluster: 2 << 20}, 12582912},
	} {
		if got := c.spec.Full(); got != c.want {
			t.Errorf("%+v: %d, not %d", c.spec, got, c.want)
		}
	}
}

func TestAFullImageHoldsItsDataAndItsTables(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := NewSpec{
			Size: 512 * rapid.Int64Range(1, 1<<35).Draw(t, "sectors"), Cluster: 1 << rapid.IntRange(16, 21).Draw(t, "cluster bits"),
			ExtendedL2: rapid.Bool().Draw(t, "extended"),
		}
		full := spec.Full()
		if full%spec.Cluster != 0 || full < spec.Size+4*spec.Cluster {
			t.Fatalf("%+v: %d", spec, full)
		}
		if spare := full - spec.Size; spare > spec.Size/500+8*spec.Cluster {
			t.Fatalf("%+v: %d bytes beside the data", spec, spare)
		}
		larger := spec
		larger.Size += 512
		if larger.Full() < full {
			t.Fatalf("%+v: a larger one takes less", spec)
		}
	})
}
