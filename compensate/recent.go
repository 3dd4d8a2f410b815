package compensate

// recent is a map that remembers the newest so many keys.
type recent[V any] struct {
	values map[string]V
	order  []string // a ring of the keys, by the time of their first putting
	next   int
}

func newRecent[V any](size int) *recent[V] {
	return &recent[V]{values: make(map[string]V), order: make([]string, size)}
}

func (r *recent[V]) get(key string) (V, bool) {
	v, ok := r.values[key]
	return v, ok
}

func (r *recent[V]) put(key string, value V) {
	if _, ok := r.values[key]; !ok {
		delete(r.values, r.order[r.next])
		r.order[r.next] = key
		r.next = (r.next + 1) % len(r.order)
	}
	r.values[key] = value
}
