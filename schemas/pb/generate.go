// Package pb is the wire form of schemas: the messages of trueup.proto, with
// marshalling by vtprotobuf.
//
// It promises nothing of its own: package schemas checks what it reads here
// and converts it. Unmarshalling is by UnmarshalVTUnsafe alone: the result
// points into the bytes that were read, so they must be left alone as long as
// the result lives. There is deliberately no other generated way to unmarshal,
// because pooled messages must never append to bytes that are not theirs.
package pb

// The plugins are protoc-gen-go v1.36.12 and protoc-gen-go-vtproto v0.6.0; both must be on PATH, beside protoc.
//go:generate protoc -I . --go_out=. --go_opt=paths=source_relative --go-vtproto_out=. --go-vtproto_opt=paths=source_relative,features=marshal+size+unmarshal_unsafe+pool,pool=github.com/trueup-io/trueup/schemas/pb.Record,pool=github.com/trueup-io/trueup/schemas/pb.Change,pool=github.com/trueup-io/trueup/schemas/pb.Image,pool=github.com/trueup-io/trueup/schemas/pb.Column,pool=github.com/trueup-io/trueup/schemas/pb.Tag trueup.proto
