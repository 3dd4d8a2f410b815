"""Writes vectors.json: buckets as docs/rollout.md says them, by another program."""
import hashlib, json


def framed(text):
    raw, n, out = text.encode(), len(text.encode()), b""
    while n >= 0x80:
        out, n = out + bytes([n & 0x7F | 0x80]), n >> 7
    return out + bytes([n]) + raw


def bucket(salt, key):
    said = b"trueup/bucket/1" + b"".join(framed(t) for t in [salt, *key])
    return int.from_bytes(hashlib.sha256(said).digest()[:8], "big") * 100_000 >> 64


def decision(stage, share, at):
    if stage == "ramp":
        stage = "target_primary" if at < share else "shadow_read"
    return {
        "off": ["legacy", "legacy", "nothing", "nothing"],
        "shadow": ["legacy_shadow_target", "legacy", "writes", "legacy_to_target"],
        "dual_write": ["legacy_then_target", "legacy", "writes", "legacy_to_target"],
        "shadow_read": ["legacy_then_target", "legacy", "writes_and_reads", "legacy_to_target"],
        "target_primary": ["target_then_legacy", "target", "writes_and_reads", "target_to_legacy"],
        "complete": ["target", "target", "nothing", "nothing"],
    }[stage]


salts = ["orders", "customers", "", "ordërs", "s" * 200]
keys = [["42"], ["43"], ["4", "2"], ["42", ""], ["", "42"], [""], ["tenant-a", "0017"], ["żółw"], ["k" * 127], ["k" * 128], ["k" * 300, "2"]]
stages = ["off", "shadow", "dual_write", "shadow_read", "ramp", "target_primary", "complete"]
with open("vectors.json", "w") as f:
    lines = []
    for i, salt in enumerate(salts):
        for j, key in enumerate(keys):
            at = bucket(salt, key)
            for share in ([0, 12_500, at, at + 1, 100_000] if (i + j) % 3 == 0 else [50_000]):
                lines.append(json.dumps({"salt": salt, "key": key, "stage": "ramp", "share": share, "bucket": at, "axes": decision("ramp", share, at)}, ensure_ascii=False))
            stage = stages[(i * len(keys) + j) % 7]
            if stage != "ramp":
                lines.append(json.dumps({"salt": salt, "key": key, "stage": stage, "share": 0, "bucket": at, "axes": decision(stage, 0, at)}, ensure_ascii=False))
    f.write("[\n" + ",\n".join(lines) + "\n]\n")
