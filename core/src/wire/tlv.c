/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/tlv.h"

int pra__read_long_varint(struct pra__reader *r, uint64_t *out)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (r->pos == r->end)
            return pra__malformed(r, "unexpected end");
        uint8_t byte = *r->pos++;
        v |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80) {
            *out = v;
            return PRA_OK;
        }
    }
    return pra__malformed(r, "varint of more than 10 bytes");
}

static int skip_bytes(struct pra__reader *r, uint64_t n)
{
    if (n > (uint64_t)(r->end - r->pos))
        return pra__malformed(r, "unexpected end");
    r->pos += n;
    return PRA_OK;
}

static int skip_value(struct pra__reader *r, uint32_t wire)
{
    uint64_t n;
    switch (wire) {
    case PRA__WIRE_VARINT:
        return pra__read_varint(r, &n);
    case PRA__WIRE_FIXED64:
        return skip_bytes(r, 8);
    case PRA__WIRE_FIXED32:
        return skip_bytes(r, 4);
    case PRA__WIRE_BYTES: {
        int rc = pra__read_varint(r, &n);
        return rc ? rc : skip_bytes(r, n);
    }
    default:
        return pra__malformed(r, "illegal wire type");
    }
}

/* Inside a group field numbers mean nothing: Go looks at neither them nor whether the end fits the
 * beginning. */
int pra__skip_field(struct pra__reader *r, uint32_t wire)
{
    size_t depth = 0;
    for (;;) {
        if (wire == PRA__WIRE_GROUP) {
            depth++;
        } else if (wire == PRA__WIRE_END_GROUP) {
            depth--;
        } else {
            int rc = skip_value(r, wire);
            if (rc)
                return rc;
        }
        if (depth == 0)
            return PRA_OK;
        uint64_t key;
        int rc = pra__read_varint(r, &key);
        if (rc)
            return rc;
        wire = (uint32_t)(key & 7);
    }
}
