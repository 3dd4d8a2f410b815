package mysql

import (
	"strings"
	"testing"

	"github.com/trueup-io/trueup/schemas"
)

func TestTagIsReadFromTheCommentsOfAStatement(t *testing.T) {
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for name, c := range map[string]struct {
		statement string
		want      schemas.Tag
	}{
		"none":             {"insert into a values (1)", schemas.Tag{}},
		"trailing":         {"insert into a values (1) /*write_id='w-1',traceparent='" + trace + "'*/", schemas.Tag{WriteID: "w-1", Traceparent: trace}},
		"leading":          {"/* service='shop' , write_id = 'w' */ update a set b=1", schemas.Tag{Service: "shop", WriteID: "w"}},
		"inner":            {"update /*flag_epoch='7'*/ a set b=1", schemas.Tag{FlagEpoch: "7"}},
		"several comments": {"/*write_id='1'*/ update a /*service='s'*/ set b=1 /*write_id='2'*/", schemas.Tag{WriteID: "2", Service: "s"}},
		"last wins":        {"/*write_id='1',write_id='2'*/ select 1", schemas.Tag{WriteID: "2"}},
		"url-encoded":      {"/*write_id='a%20b%27c%2Fd+e'*/", schemas.Tag{WriteID: "a b'c/d+e"}},
		"not url-encoded":  {"/*write_id='100%'*/", schemas.Tag{WriteID: "100%"}},
		"escaped quote":    {`/*write_id='it\'s'*/`, schemas.Tag{WriteID: "it's"}},
		"double quotes":    {`/*write_id="w"*/`, schemas.Tag{WriteID: "w"}},
		"unknown keys":     {"/*db_driver='x',write_id='w',route='/a'*/", schemas.Tag{WriteID: "w"}},
		"compensation":     {"/*compensation_id='c-1'*/ update a set b=1", schemas.Tag{CompensationID: "c-1"}},

		"data is no tag":                {"insert into a values ('/*write_id=''forged''*/')", schemas.Tag{}},
		"data with an escape":           {`insert into a values ('\'/*write_id="forged"*/')`, schemas.Tag{}},
		"data in double quotes":         {`insert into a values ("it's /*write_id='forged'*/")`, schemas.Tag{}},
		"quoted names are no tag":       {"insert into `/*write_id='forged'*/` values (1)", schemas.Tag{}},
		"line comments are no tag":      {"insert into a -- /*write_id='forged'*/\n values (1)", schemas.Tag{}},
		"a minus sign is no comment":    {"select 1--1 /*write_id='w'*/", schemas.Tag{WriteID: "w"}},
		"executable comments are code":  {"/*!40000 insert into a values ('/*write_id=''forged''*/') */ /*write_id='w'*/", schemas.Tag{WriteID: "w"}},
		"optimizer hints are comments":  {"select /*+ BKA(t) */ 1 /*write_id='w'*/", schemas.Tag{WriteID: "w"}},
		"comment not closed":            {"insert into a values (1) /*write_id='w'", schemas.Tag{WriteID: "w"}},
		"value not closed":              {"/*service='s',write_id='w*/", schemas.Tag{Service: "s"}},
		"string not closed":             {"insert into a values ('x /*write_id='w'*/", schemas.Tag{}},
		"too long":                      {"/*write_id='" + strings.Repeat("x", maxTagValue+1) + "',service='s'*/", schemas.Tag{Service: "s"}},
		"not UTF-8":                     {"/*write_id='%ff',service='s'*/", schemas.Tag{Service: "s"}},
		"empty comment":                 {"/**/ insert /*write_id='w'*/", schemas.Tag{WriteID: "w"}},
		"pairs without quotes are none": {"/*write_id=5,service='s'*/", schemas.Tag{Service: "s"}},
	} {
		if got := tagOf(c.statement); got != c.want {
			t.Errorf("%s: %q: %+v, want %+v", name, c.statement, got, c.want)
		}
	}
}

func FuzzTagOf(f *testing.F) {
	f.Add("insert into `a``b` values ('x''y\\'', \"z\") /*write_id='%41'*/ -- end")
	f.Fuzz(func(t *testing.T, statement string) {
		tag := tagOf(statement) // reads anything without a panic
		if len(tag.WriteID) > maxTagValue {
			t.Fatalf("write id of %d bytes", len(tag.WriteID))
		}
	})
}
