/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and writing protocol buffer fields. Reading accepts and refuses what the Go code
 * generated for Prometheus accepts and refuses:
 * - a varint has at most 10 bytes; bits above the 64th are dropped;
 * - a field number is the low 32 bits, and zero or negative ones are refused; so are wire types 6
 *   and 7, an end-group that closes nothing, and the wrong wire type on a known field;
 * - unknown fields are skipped, groups by counting depth. */
#ifndef PRA_WIRE_TLV_H
#define PRA_WIRE_TLV_H

#include <stdint.h>
#include <string.h>

#include "pra.h"

enum {
    PRA__WIRE_VARINT = 0,
    PRA__WIRE_FIXED64 = 1,
    PRA__WIRE_BYTES = 2,
    PRA__WIRE_GROUP = 3,
    PRA__WIRE_END_GROUP = 4,
    PRA__WIRE_FIXED32 = 5
};

/* ---- reading: every function returns PRA_OK, or PRA_ERR_PROTO with why set and pos where it
 * stopped */

struct pra__reader {
    const uint8_t *pos;
    const uint8_t *end;
    const char *why; /* static text of what is malformed */
};

struct pra__field {
    uint32_t number; /* 1 … INT32_MAX */
    uint32_t wire;   /* PRA__WIRE_… */
};

static inline int pra__malformed(struct pra__reader *r, const char *why)
{
    r->why = why;
    return PRA_ERR_PROTO;
}

/* The rest of pra__read_varint: more than two bytes, or too few. */
int pra__read_long_varint(struct pra__reader *r, uint64_t *out);

static inline int pra__read_varint(struct pra__reader *r, uint64_t *out)
{
    const uint8_t *p = r->pos;
    if (p < r->end && p[0] < 0x80) {
        *out = p[0];
        r->pos = p + 1;
        return PRA_OK;
    }
    if (r->end - p >= 2 && p[1] < 0x80) {
        *out = (uint64_t)p[1] << 7 | (p[0] & 0x7F);
        r->pos = p + 2;
        return PRA_OK;
    }
    return pra__read_long_varint(r, out);
}

/* Begins a field: its number and wire type. */
static inline int pra__read_field(struct pra__reader *r, struct pra__field *out)
{
    uint64_t key;
    int rc = pra__read_varint(r, &key);
    if (rc)
        return rc;
    out->number = (uint32_t)(key >> 3);
    out->wire = (uint32_t)(key & 7);
    if (out->wire == PRA__WIRE_END_GROUP)
        return pra__malformed(r, "end of a group that was not begun");
    if (out->number == 0 || out->number > INT32_MAX)
        return pra__malformed(r, "illegal field number");
    return PRA_OK;
}

/* Skips the field that pra__read_field has begun. */
int pra__skip_field(struct pra__reader *r, uint32_t wire);

/* The value of a varint, fixed64 or length-delimited field with this wire type; any other wire type
 * is refused. */
static inline int pra__read_u64(struct pra__reader *r, uint32_t wire, uint64_t *out)
{
    if (wire != PRA__WIRE_VARINT)
        return pra__malformed(r, "wrong wire type");
    return pra__read_varint(r, out);
}

static inline int pra__read_i64(struct pra__reader *r, uint32_t wire, int64_t *out)
{
    uint64_t v;
    int rc = pra__read_u64(r, wire, &v);
    if (rc == PRA_OK)
        *out = (int64_t)v;
    return rc;
}

/* Also for enum fields: the low 32 bits. */
static inline int pra__read_i32(struct pra__reader *r, uint32_t wire, int32_t *out)
{
    uint64_t v;
    int rc = pra__read_u64(r, wire, &v);
    if (rc == PRA_OK)
        *out = (int32_t)(uint32_t)v;
    return rc;
}

static inline int64_t pra__unzigzag64(uint64_t v)
{
    return (int64_t)((v >> 1) ^ (0 - (v & 1)));
}

/* sint32: cut to 32 bits before the sign is undone. */
static inline int32_t pra__unzigzag32(uint64_t v)
{
    uint32_t low = (uint32_t)v;
    return (int32_t)((low >> 1) ^ (0 - (low & 1)));
}

static inline uint64_t pra__load64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof(v));
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap64(v);
#endif
    return v;
}

/* Eight bytes into a double or an integer; the bits stay as they are. */
static inline int pra__read_fixed64(struct pra__reader *r, uint32_t wire, void *out)
{
    if (wire != PRA__WIRE_FIXED64)
        return pra__malformed(r, "wrong wire type");
    if (r->end - r->pos < 8)
        return pra__malformed(r, "unexpected end");
    uint64_t v = pra__load64(r->pos);
    memcpy(out, &v, sizeof(v));
    r->pos += 8;
    return PRA_OK;
}

/* Moves past the bytes; *out points at them. */
static inline int pra__read_bytes(struct pra__reader *r, uint32_t wire, const uint8_t **out,
                                  size_t *len)
{
    if (wire != PRA__WIRE_BYTES)
        return pra__malformed(r, "wrong wire type");
    uint64_t n;
    int rc = pra__read_varint(r, &n);
    if (rc)
        return rc;
    if (n > (uint64_t)(r->end - r->pos))
        return pra__malformed(r, "length beyond the end");
    *out = r->pos;
    *len = (size_t)n;
    r->pos += n;
    return PRA_OK;
}

/* Narrows the reader to a sub-message; *outer keeps the end for pra__leave. On failure inside, the
 * reader is left where it stopped. */
static inline int pra__enter(struct pra__reader *r, uint32_t wire, const uint8_t **outer)
{
    const uint8_t *start;
    size_t len;
    int rc = pra__read_bytes(r, wire, &start, &len);
    if (rc)
        return rc;
    *outer = r->end;
    r->end = r->pos;
    r->pos = start;
    return PRA_OK;
}

static inline void pra__leave(struct pra__reader *r, const uint8_t *outer)
{
    r->pos = r->end;
    r->end = outer;
}

/* ---- writing: the caller has counted the bytes and made room */

static inline size_t pra__varint_size(uint64_t v)
{
    return ((size_t)(63 - __builtin_clzll(v | 1)) * 9 + 73) / 64;
}

static inline uint64_t pra__zigzag64(int64_t v)
{
    return ((uint64_t)v << 1) ^ (0 - ((uint64_t)v >> 63));
}

static inline uint32_t pra__zigzag32(int32_t v)
{
    return ((uint32_t)v << 1) ^ (0 - ((uint32_t)v >> 31));
}

/* An int32 or enum as the 64-bit number that goes over the wire. */
static inline uint64_t pra__sign_extend(int32_t v)
{
    return (uint64_t)(int64_t)v;
}

static inline uint8_t *pra__put_varint(uint8_t *p, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        *p++ = (uint8_t)(v | 0x80);
    *p++ = (uint8_t)v;
    return p;
}

static inline uint8_t *pra__put_key(uint8_t *p, uint32_t number, uint32_t wire)
{
    return pra__put_varint(p, (uint64_t)number << 3 | wire);
}

/* Key and length of a sub-message, string, bytes or packed field of len bytes. */
static inline uint8_t *pra__put_head(uint8_t *p, uint32_t number, size_t len)
{
    return pra__put_varint(pra__put_key(p, number, PRA__WIRE_BYTES), len);
}

static inline uint8_t *pra__put_bytes(uint8_t *p, const void *bytes, size_t len)
{
    if (len)
        memcpy(p, bytes, len);
    return p + len;
}

static inline uint8_t *pra__put_fixed64(uint8_t *p, const void *value)
{
    uint64_t v = pra__load64(value);
    memcpy(p, &v, sizeof(v));
    return p + sizeof(v);
}

/* Sizes of whole fields. */
static inline size_t pra__key_size(uint32_t number)
{
    return pra__varint_size((uint64_t)number << 3);
}

static inline size_t pra__bytes_field_size(uint32_t number, size_t len)
{
    return pra__key_size(number) + pra__varint_size(len) + len;
}

/* proto3: a zero is not written. The double is zero only if all its bits are, so that -0 and every
 * NaN survive. */
static inline size_t pra__varint_field_size(uint32_t number, uint64_t v)
{
    return v ? pra__key_size(number) + pra__varint_size(v) : 0;
}

static inline size_t pra__double_field_size(uint32_t number, const double *value)
{
    return pra__load64((const uint8_t *)value) ? pra__key_size(number) + 8 : 0;
}

static inline size_t pra__string_field_size(uint32_t number, size_t len)
{
    return len ? pra__bytes_field_size(number, len) : 0;
}

static inline uint8_t *pra__put_varint_field(uint8_t *p, uint32_t number, uint64_t v)
{
    return v ? pra__put_varint(pra__put_key(p, number, PRA__WIRE_VARINT), v) : p;
}

static inline uint8_t *pra__put_double_field(uint8_t *p, uint32_t number, const double *value)
{
    if (pra__load64((const uint8_t *)value) == 0)
        return p;
    return pra__put_fixed64(pra__put_key(p, number, PRA__WIRE_FIXED64), value);
}

static inline uint8_t *pra__put_string_field(uint8_t *p, uint32_t number, const char *str,
                                             size_t len)
{
    return len ? pra__put_bytes(pra__put_head(p, number, len), str, len) : p;
}

#endif
