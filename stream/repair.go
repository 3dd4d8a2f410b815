package stream

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// The embedded broker's files, per partition: segments N.dat, which are record batches
// as Kafka puts them on the wire, and beside each N.idx, with an entry of idxEntry
// bytes per batch. A batch is written, then its entry, then both are synced, then the
// batch is acknowledged, then the next one is written. So after a kill or a power cut
// at most the newest batch of a partition is torn, or without its entry, and it was
// never acknowledged. kfake itself would show such a batch of an open transaction as
// committed, and would cut a segment wherever it cannot read on; so the files are
// looked through before it gets them.
const (
	idxEntry    = 15
	batchHeader = 61
	batchCRC    = 17 // where the checksum stands; it covers all after it
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// openTxn is a transaction that has records in a partition, and no end there.
type openTxn struct {
	topic     string
	partition int32
	producer  int64
	epoch     int16
}

// repair cuts torn tails, refuses everything else that is not as it was written, and
// returns the transactions that were open when the broker was killed. (One that is
// closed writes its open transactions down, and goes on with them.)
func repair(data string, log *slog.Logger) ([]openTxn, error) {
	parts, err := os.ReadDir(filepath.Join(data, "partitions"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look through the log: %w", err)
	}
	var open []openTxn
	for _, part := range parts {
		txns, err := repairPartition(filepath.Join(data, "partitions", part.Name()), log)
		if err != nil {
			return nil, err
		}
		open = append(open, txns...)
	}
	if _, err := os.Stat(filepath.Join(data, "session_state.json")); err == nil {
		return nil, nil
	}
	return open, nil
}

func repairPartition(dir string, log *slog.Logger) ([]openTxn, error) {
	bases, err := segments(dir)
	if err != nil {
		return nil, fmt.Errorf("look through the log: %w", err)
	}
	open := make(map[int64]int16) // epoch, by producer
	for i, base := range bases {
		newest := i == len(bases)-1
		path := filepath.Join(dir, strconv.FormatInt(base, 10))
		kept, err := repairSegment(path, newest, log)
		if err != nil {
			return nil, err
		}
		for _, b := range kept {
			switch {
			case b.control():
				delete(open, b.producer)
			case b.transactional():
				open[b.producer] = b.epoch
			}
		}
	}
	if len(open) == 0 {
		return nil, nil
	}
	topic, partition, err := partitionOf(filepath.Base(dir))
	if err != nil {
		return nil, fmt.Errorf("look through the log: %s: %w", dir, err)
	}
	var txns []openTxn
	for producer, epoch := range open {
		txns = append(txns, openTxn{topic, partition, producer, epoch})
	}
	return txns, nil
}

// partitionOf reads the name of a partition's directory.
func partitionOf(name string) (topic string, partition int32, err error) {
	dash := strings.LastIndexByte(name, '-')
	if dash < 0 {
		return "", 0, errors.New("not the name of a partition")
	}
	n, err := strconv.ParseInt(name[dash+1:], 10, 32)
	if err != nil {
		return "", 0, err
	}
	topic, err = url.PathUnescape(name[:dash])
	return topic, int32(n), err
}

// segments returns the base offsets of a partition's segments, in order.
func segments(dir string) ([]int64, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var bases []int64
	for _, f := range files {
		name, isData := strings.CutSuffix(f.Name(), ".dat")
		if base, err := strconv.ParseInt(name, 10, 64); isData && err == nil {
			bases = append(bases, base)
		}
	}
	slices.Sort(bases)
	return bases, nil
}

// repairSegment returns the batches that the segment has, or is left with.
func repairSegment(path string, newest bool, log *slog.Logger) ([]batch, error) {
	got, err := scanSegment(path+".dat", newest)
	if err != nil {
		return nil, fmt.Errorf("look through the log: %w", err)
	}
	idx, err := os.Stat(path + ".idx")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("look through the log: %w", err)
	}
	entries := 0
	if err == nil {
		entries = int(idx.Size() / idxEntry)
	}
	batches := len(got.batches)
	damaged := entries > batches+1 || batches > entries+1
	if !newest {
		damaged = damaged || entries != batches || got.size != got.end()
	}
	if damaged {
		return nil, fmt.Errorf("%s.dat: %w: %d batches can be read, up to byte %d of %d, and %d were written: restore the data directory from a backup, or run a new baseline in a new one",
			path, ErrDataLoss, batches, got.end(), got.size, entries)
	}
	if batches > entries { // written, but never acknowledged
		got.batches = got.batches[:entries]
	}
	keep := got.end()
	if keep == got.size {
		return got.batches, nil
	}
	log.Warn("the newest batch of the log was torn, and had not been acknowledged: cut", "file", path+".dat", "kept_bytes", keep, "cut_bytes", got.size-keep)
	if err := truncate(path+".dat", keep); err != nil {
		return nil, fmt.Errorf("cut the torn end of the log: %w", err)
	}
	return got.batches, nil
}

// scanned is what of a segment can be read.
type scanned struct {
	size    int64
	batches []batch
}

func (s *scanned) end() int64 {
	if len(s.batches) == 0 {
		return 0
	}
	return s.batches[len(s.batches)-1].end
}

// batch is what matters here of a batch's header.
type batch struct {
	end        int64 // where it ends in the file
	attributes uint16
	producer   int64
	epoch      int16
}

func (b batch) transactional() bool { return b.attributes&0x10 != 0 }
func (b batch) control() bool       { return b.attributes&0x20 != 0 }

// scanSegment follows the batches of a segment to the first that is not whole. With
// check it reads them and compares checksums; without, it only reads their headers.
func scanSegment(path string, check bool) (scanned, error) {
	f, err := os.Open(path)
	if err != nil {
		return scanned{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return scanned{}, err
	}
	s := scanned{size: info.Size()}
	r := bufio.NewReaderSize(f, 1<<16)
	var header [batchHeader]byte
	for at := int64(0); ; {
		if _, err := io.ReadFull(r, header[:]); err != nil {
			return s, ignoreEnd(err)
		}
		length := int64(int32(binary.BigEndian.Uint32(header[8:]))) + 12
		if length < batchHeader || at+length > s.size {
			return s, nil
		}
		rest := length - batchHeader
		if check {
			sum := crc32.New(castagnoli)
			sum.Write(header[batchCRC+4:])
			if _, err := io.CopyN(sum, r, rest); err != nil {
				return s, ignoreEnd(err)
			}
			if sum.Sum32() != binary.BigEndian.Uint32(header[batchCRC:]) {
				return s, nil
			}
		} else if err := skip(f, r, rest); err != nil {
			return s, ignoreEnd(err)
		}
		at += length
		s.batches = append(s.batches, batch{
			end:        at,
			attributes: binary.BigEndian.Uint16(header[21:]),
			producer:   int64(binary.BigEndian.Uint64(header[43:])),
			epoch:      int16(binary.BigEndian.Uint16(header[51:])),
		})
	}
}

// skip moves a buffered reader on without reading what is skipped.
func skip(f *os.File, r *bufio.Reader, n int64) error {
	if buffered := int64(r.Buffered()); n <= buffered {
		_, err := r.Discard(int(n))
		return err
	} else if _, err := f.Seek(n-buffered, io.SeekCurrent); err != nil {
		return err
	}
	r.Reset(f)
	return nil
}

// ignoreEnd: a file that ends early is for the caller to judge, by its length.
func ignoreEnd(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

func truncate(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	err = f.Truncate(size)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}
