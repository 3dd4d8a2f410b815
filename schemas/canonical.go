package schemas

// Driver is the kind of a store.
type Driver string

const (
	Postgres Driver = "postgres"
	MySQL    Driver = "mysql"
	MariaDB  Driver = "mariadb"
)

// Drivers lists every driver in the order in which people list them.
var Drivers = []Driver{Postgres, MySQL, MariaDB}

// limits says which kinds of store cannot hold a value. Whether a value is
// equal to another never depends on it.
type limits uint8

const (
	beyondMySQL     limits = 1 << iota // MySQL and MariaDB cannot hold it
	beyondPostgres                     // PostgreSQL cannot hold it
	beyondMySQLJSON                    // MySQL cannot: MariaDB keeps the text of JSON, MySQL its numbers as doubles
)

// beyond says whether a store of driver d cannot hold the value. A store that
// is not known is taken to hold only what every store holds.
func (l limits) beyond(d Driver) bool {
	switch d {
	case Postgres:
		return l&beyondPostgres != 0
	case MySQL:
		return l&(beyondMySQL|beyondMySQLJSON) != 0
	case MariaDB:
		return l&beyondMySQL != 0
	}
	return l != 0
}

// canonType is a canonical type: how the texts of the stores become one text.
//
// The reading of a text depends on the type alone, never on the store it came
// from. So canonical equality is equality of bytes, an equivalence relation
// whatever the drivers are; and reading a canonical text gives it back.
type canonType interface {
	// declared is the type as it stands in the digest's shape: "decimal(2)".
	declared() string
	// canon appends the canonical text of a store's text. The error is an unreadable.
	canon(dst []byte, text string) ([]byte, limits, error)
	// write appends what a store of driver d reads as the canonical text, which canon has given and which is not
	// beyond d.
	write(dst []byte, canonical string, d Driver) []byte
}

// unreadable says why a text is not of its canonical type. It holds no part of
// the text.
type unreadable string

func (u unreadable) Error() string { return string(u) }

const (
	// maxDigits bounds the digits before and after the decimal point. No store holds more.
	maxDigits = 131072
	// maxZeros bounds the digits of a number beyond the length of its text, so that a short text like 1e999999999
	// cannot ask for much memory. A float's exponent adds 324 at most.
	maxZeros = 1024
)

// The declared names of the canonical types.
const (
	typeInteger   = "integer"
	typeDecimal   = "decimal"
	typeFloat     = "float"
	typeBoolean   = "boolean"
	typeText      = "text"
	typeBytes     = "bytes"
	typeUUID      = "uuid"
	typeDate      = "date"
	typeTime      = "time"
	typeTimestamp = "timestamp"
	typeJSON      = "json"
	typeEnum      = "enum"
	typeArray     = "array"
)

// canonTypes lists the canonical types in the order in which people list them.
var canonTypes = []string{typeInteger, typeDecimal, typeFloat, typeBoolean, typeText, typeBytes, typeUUID, typeDate,
	typeTime, typeTimestamp, typeJSON, typeEnum, typeArray}
