package mysql

import "strings"

// hint is what the log does not say of a column, from information_schema: how
// the server prints it. It is used only where it fits what the log says. A
// value that was written before its column changed is printed as the server
// prints it since: FLOAT(10,2) that became FLOAT with six digits.
type hint struct {
	dataType   string // lower case: uuid, inet6, float
	unsigned   bool
	zerofill   int  // display width of ZEROFILL, 0 without
	decimals   int  // of FLOAT(M,D) and DOUBLE(M,D), -1 without
	year       int  // digits of YEAR: 4 or 2
	fractional bool // has fractional seconds
}

// noHint is what is assumed of a column that information_schema does not have.
var noHint = hint{decimals: -1, year: 4}

// parseHint reads what information_schema says of a column.
func parseHint(dataType, columnType string, scale, datetimePrecision *int) hint {
	h := noHint
	h.dataType = strings.ToLower(dataType)
	columnType = strings.ToLower(columnType)
	var width int
	if _, arguments, ok := strings.Cut(columnType, "("); ok {
		for i := 0; i < len(arguments) && arguments[i] >= '0' && arguments[i] <= '9'; i++ {
			width = 10*width + int(arguments[i]-'0')
		}
	}
	switch h.dataType {
	case "float", "double":
		if scale != nil && *scale < 31 { // 31 says that there are none
			h.decimals = *scale
		}
	case "year":
		if width == 2 {
			h.year = 2
		}
	}
	h.unsigned = strings.Contains(columnType, "unsigned")
	if strings.Contains(columnType, "zerofill") {
		h.zerofill = width
		switch {
		case h.dataType == "decimal" && scale != nil && *scale > 0:
			h.zerofill++ // the point
		case h.dataType == "float" && width == 0:
			h.zerofill = 12
		case h.dataType == "double" && width == 0:
			h.zerofill = 22
		}
	}
	h.fractional = datetimePrecision != nil && *datetimePrecision > 0
	return h
}
