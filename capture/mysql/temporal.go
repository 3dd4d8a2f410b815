package mysql

import "encoding/binary"

// Temporal values are printed with the column's number of fractional digits.
// TIMESTAMP is printed in UTC, as a session with time_zone='+00:00' sees it.

// bigEndian reads an unsigned big-endian integer of len(b) bytes.
func bigEndian(b []byte) uint64 {
	var v uint64
	for _, c := range b {
		v = v<<8 | uint64(c)
	}
	return v
}

// fraction reads the microseconds that follow a value with that many fractional
// digits, and the length of their bytes.
func fraction(b []byte, digits int) (micros uint64, n int) {
	n = (digits + 1) / 2
	micros = bigEndian(b[:n])
	for range 3 - n {
		micros *= 100
	}
	return micros, n
}

func appendFraction(dst []byte, micros uint64, digits int) []byte {
	if digits == 0 {
		return dst
	}
	for range 6 - digits {
		micros /= 10
	}
	return appendPadded(append(dst, '.'), micros, digits)
}

func appendDate(dst []byte, year, month, day uint64) []byte {
	dst = appendPadded(dst, year, 4)
	dst = appendPadded(append(dst, '-'), month, 2)
	return appendPadded(append(dst, '-'), day, 2)
}

func appendClock(dst []byte, hour, minute, second uint64) []byte {
	dst = appendPadded(dst, hour, 2)
	dst = appendPadded(append(dst, ':'), minute, 2)
	return appendPadded(append(dst, ':'), second, 2)
}

// readDate reads DATE: 9 or more bits of year, 4 of month, 5 of day.
func readDate(dst, b []byte) ([]byte, int) {
	v := uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16
	return appendDate(dst, v>>9, v>>5&15, v&31), 3
}

// readYear reads YEAR. The years of YEAR(2) are printed with two digits.
func readYear(digits int) valueReader {
	return func(dst, b []byte) ([]byte, int) {
		year := uint64(b[0])
		if year > 0 {
			year += 1900
		}
		if digits == 2 {
			year %= 100
		}
		return appendPadded(dst, year, digits), 1
	}
}

func appendUnix(dst []byte, seconds, micros uint64, digits int) []byte {
	if seconds == 0 { // '0000-00-00 00:00:00'; no TIMESTAMP holds the epoch itself
		dst = appendClock(append(appendDate(dst, 0, 0, 0), ' '), 0, 0, 0)
		return appendFraction(dst, micros, digits)
	}
	year, month, day := civil(seconds / 86400)
	clock := seconds % 86400
	dst = appendClock(append(appendDate(dst, year, month, day), ' '), clock/3600, clock/60%60, clock%60)
	return appendFraction(dst, micros, digits)
}

// civil returns the date so many days after 1970-01-01. Package time prints the
// same, but takes as long for it as for all other columns of a usual row.
//
// Years are counted from 1 March, so that the odd day is their last one, and in
// eras of 400 years, which are all alike.
func civil(days uint64) (year, month, day uint64) {
	const (
		beforeEpoch = 719468 // days from 0000-03-01 to 1970-01-01
		ofEra       = 146097
	)
	days += beforeEpoch
	era, inEra := days/ofEra, days%ofEra
	yearOfEra := (inEra - inEra/1460 + inEra/36524 - inEra/146096) / 365
	inYear := inEra - (365*yearOfEra + yearOfEra/4 - yearOfEra/100)
	fromMarch := (5*inYear + 2) / 153
	day = inYear - (153*fromMarch+2)/5 + 1
	year = era*400 + yearOfEra
	if fromMarch < 10 {
		return year, fromMarch + 3, day
	}
	return year + 1, fromMarch - 9, day
}

// readTimestamp reads TIMESTAMP2.
func readTimestamp(digits int) valueReader {
	return func(dst, b []byte) ([]byte, int) {
		micros, n := fraction(b[4:], digits)
		return appendUnix(dst, bigEndian(b[:4]), micros, digits), 4 + n
	}
}

// readOldTimestamp reads TIMESTAMP of before MySQL 5.6 and MariaDB 10.1.
func readOldTimestamp(dst, b []byte) ([]byte, int) {
	return appendUnix(dst, uint64(binary.LittleEndian.Uint32(b)), 0, 0), 4
}

// readDatetime reads DATETIME2: a sign, 17 bits of year*13+month, 5 of day, 5
// of hour, 6 of minute, 6 of second.
func readDatetime(digits int) valueReader {
	return func(dst, b []byte) ([]byte, int) {
		v := bigEndian(b[:5]) & (1<<39 - 1)
		micros, n := fraction(b[5:], digits)
		months, day, clock := v>>22, v>>17&31, v&(1<<17-1)
		dst = append(appendDate(dst, months/13, months%13, day), ' ')
		dst = appendClock(dst, clock>>12, clock>>6&63, clock&63)
		return appendFraction(dst, micros, digits), 5 + n
	}
}

// readOldDatetime reads DATETIME of before MySQL 5.6 and MariaDB 10.1: the
// decimal number YYYYMMDDhhmmss.
func readOldDatetime(dst, b []byte) ([]byte, int) {
	v := binary.LittleEndian.Uint64(b)
	date, clock := v/1000000, v%1000000
	dst = append(appendDate(dst, date/10000, date/100%100, date%100), ' ')
	return appendClock(dst, clock/10000, clock/100%100, clock%100), 8
}

// readTime reads TIME2: offset by its highest bit, 10 bits of hour (to 838), 6
// of minute, 6 of second, then the fraction; a negative one is the two's
// complement of the whole.
func readTime(digits int) valueReader {
	return func(dst, b []byte) ([]byte, int) {
		size := 3 + (digits+1)/2
		bits := uint(8 * size)
		v := int64(bigEndian(b[:size])) - 1<<(bits-1)
		if v < 0 {
			dst = append(dst, '-')
			v = -v
		}
		low := bits - 24 // of the fraction
		clock, micros := uint64(v)>>low, uint64(v)&(1<<low-1)
		for range 6 - 2*((digits+1)/2) {
			micros *= 10
		}
		dst = appendClock(dst, clock>>12&1023, clock>>6&63, clock&63)
		return appendFraction(dst, micros, digits), size
	}
}

// readOldTime reads TIME of before MySQL 5.6 and MariaDB 10.1: the signed
// decimal number hhhmmss.
func readOldTime(dst, b []byte) ([]byte, int) {
	v := int32(uint32(b[0])<<8|uint32(b[1])<<16|uint32(b[2])<<24) >> 8
	if v < 0 {
		dst = append(dst, '-')
		v = -v
	}
	return appendClock(dst, uint64(v)/10000, uint64(v)/100%100, uint64(v)%100), 3
}
