/* SPDX-License-Identifier: Apache-2.0 */
#include "message/chunk_decode.h"

#include <string.h>

#include "base/error.h"
#include "base/limits.h"
#include "message/chunk_xor.h"
#include "message/write_request.h"

/* ---- float samples, types 1 and 4 */

struct samples {
    struct pra__bit_reader r;
    uint64_t timestamp_ms;
    uint64_t delta;
    struct pra__xor value;
    int64_t *timestamps_ms; /* where they go */
    double *values;
    int64_t *starts_ms; /* NULL: there are none */
};

static void store(struct samples *s, size_t index, uint64_t bits)
{
    s->timestamps_ms[index] = (int64_t)s->timestamp_ms;
    memcpy(&s->values[index], &bits, sizeof(bits));
}

/* The first two have forms of their own. */
static void first_sample(struct samples *s, size_t index)
{
    if (index == 0) {
        s->timestamp_ms = (uint64_t)pra__unzigzag64(pra__get_varint_bits(&s->r));
        s->value.bits = pra__get_many_bits(&s->r, 64);
    } else {
        s->delta = pra__get_varint_bits(&s->r);
        s->timestamp_ms += s->delta;
    }
}

/* A change of the interval; the next bit is 1. */
static inline uint64_t get_dod(struct pra__bit_reader *r)
{
    static const uint8_t bits[4] = {1, 14, 17, 20};
    unsigned ones = pra__get_ones(r, 4);
    return ones == 4 ? pra__get_many_bits(r, 64) : (uint64_t)pra__get_fitted(r, bits[ones]);
}

/* Samples from number index on, the state in registers meanwhile. */
static void take_more_xor(struct samples *s, size_t index, size_t count)
{
    struct pra__bit_reader r = s->r;
    struct pra__xor value = s->value;
    uint64_t timestamp_ms = s->timestamp_ms, delta = s->delta;
    for (size_t i = index; i < count && !r.why; i++) {
        if (pra__bits_left(&r) < 2) {
            pra__bits_malformed(&r, "unexpected end");
            break;
        }
        const unsigned next = (unsigned)(pra__peek_bits(&r) >> 62);
        if (next < 2) /* the interval stays, and of 0 the value too */
            r.pos += 2 - next;
        else
            delta += get_dod(&r);
        if (next)
            pra__get_xor(&r, &value);
        timestamp_ms += delta;
        s->timestamps_ms[i] = (int64_t)timestamp_ms;
        memcpy(&s->values[i], &value.bits, sizeof(value.bits));
    }
    s->r = r;
}

static void take_xor(struct samples *s, size_t count)
{
    size_t i = 0;
    for (; i < count && i < 2; i++) {
        first_sample(s, i);
        if (i == 1)
            pra__get_xor(&s->r, &s->value);
        store(s, i, s->value.bits);
    }
    take_more_xor(s, i, count);
}

/* XOR2 keeps stale markers out of the chain of values, and joins the codes for a time and a value
 * that go on as before. Values are returned. */
static uint64_t xor2_value(struct samples *s)
{
    unsigned ones = pra__get_ones(&s->r, 3);
    if (ones == 3)
        return PRA_STALE_NAN_BITS;
    if (ones)
        pra__get_xor_window(&s->r, &s->value, ones == 2);
    return s->value.bits;
}

static uint64_t xor2_first(struct samples *s, size_t index)
{
    first_sample(s, index);
    if (index == 1)
        return xor2_value(s);
    if (s->value.bits != PRA_STALE_NAN_BITS)
        return s->value.bits;
    s->value.bits = 0;
    return PRA_STALE_NAN_BITS;
}

/* Unlike XOR, in two's complement. */
static uint64_t get_signed(struct pra__bit_reader *r, unsigned count)
{
    uint64_t v = pra__get_bits(r, count);
    return v >> (count - 1) ? v - (UINT64_C(1) << count) : v;
}

static uint64_t xor2_next(struct samples *s)
{
    unsigned ones = pra__get_ones(&s->r, 5);
    if (ones == 1)
        pra__get_xor_window(&s->r, &s->value, pra__get_bits(&s->r, 1) != 0);
    else if (ones == 2)
        s->delta += get_signed(&s->r, 13);
    else if (ones == 3)
        s->delta += get_signed(&s->r, 20);
    else if (ones == 4)
        s->delta += pra__get_many_bits(&s->r, 64);
    s->timestamp_ms += s->delta;
    if (ones < 2)
        return s->value.bits;
    return ones == 5 ? PRA_STALE_NAN_BITS : xor2_value(s);
}

/* Start timestamps of XOR2: the distance from the sample before, from the sample on where they
 * change for the first time; that is in the low bits of head, and the top one says whether there is
 * one with the first sample. */
struct starts {
    unsigned head;
    uint64_t diff;
    uint64_t start_ms;
};

static void next_start(struct starts *t, struct pra__bit_reader *r, size_t index, uint64_t before,
                       uint64_t now)
{
    const size_t change = t->head & 0x7F;
    if (index == 0) {
        if (t->head & 0x80)
            t->start_ms = now - (uint64_t)pra__unzigzag64(pra__get_varint_bits(r));
        return;
    }
    if (change == 0 || index < change)
        return;
    uint64_t v = (uint64_t)pra__get_varbit(r);
    t->diff = index == change ? v : t->diff + v;
    t->start_ms = before - t->diff;
}

static void take_xor2(struct samples *s, unsigned head, size_t count)
{
    struct starts starts = {.head = head};
    for (size_t i = 0; i < count && !s->r.why; i++) {
        const uint64_t before = s->timestamp_ms;
        store(s, i, i < 2 ? xor2_first(s, i) : xor2_next(s));
        if (!s->starts_ms)
            continue;
        next_start(&starts, &s->r, i, before, s->timestamp_ms);
        s->starts_ms[i] = (int64_t)starts.start_ms;
    }
}

/* Room for count samples, and for their start timestamps if one of the columns has such. */
static int room_for_samples(struct pra__columns *c, struct samples *s, size_t count,
                            int with_starts)
{
    const size_t len = c->col[PRA__COL_TIMESTAMPS].len;
    int rc = pra__columns_reserve(c, PRA__COL_TIMESTAMPS, PRA__COL_VALUES, len + count);
    if (rc == PRA_OK && (with_starts || c->col[PRA__COL_START_TIMESTAMPS].len))
        rc = pra__columns_fill_starts(c, len + count);
    if (rc)
        return rc;
    s->timestamps_ms = PRA__COLUMN(int64_t, c, PRA__COL_TIMESTAMPS) + len;
    s->values = PRA__COLUMN(double, c, PRA__COL_VALUES) + len;
    s->starts_ms = with_starts ? PRA__COLUMN(int64_t, c, PRA__COL_START_TIMESTAMPS) + len : NULL;
    return PRA_OK;
}

static int read_samples(struct pra__columns *c, int32_t type, struct pra__bit_reader *r,
                        size_t count)
{
    struct samples s = {.r = *r, .value.leading = PRA__NO_WINDOW};
    unsigned head = type == PRA_CHUNK_XOR2 ? (unsigned)pra__get_bits(&s.r, 8) : 0;
    if (count - 1 > pra__bits_left(&s.r)) /* each has a bit at least, the first one more */
        pra__bits_malformed(&s.r, "more samples than bits");
    int rc = s.r.why ? PRA_OK : room_for_samples(c, &s, count, head != 0);
    if (rc == PRA_OK && !s.r.why) {
        if (type == PRA_CHUNK_XOR)
            take_xor(&s, count);
        else
            take_xor2(&s, head, count);
    }
    *r = s.r;
    if (rc == PRA_OK && !r->why)
        c->col[PRA__COL_TIMESTAMPS].len += count;
    return rc;
}

/* ---- any chunk */

int pra__chunk_decode(struct pra__columns *c, int32_t type, const uint8_t *data, size_t len,
                      const char **why)
{
    struct pra__bit_reader r;
    pra__bit_reader_init(&r, data, len);
    if (type < PRA_CHUNK_XOR || type > PRA_CHUNK_XOR2)
        return PRA_ERR_NOT_SUPPORTED;
    size_t count = (size_t)pra__get_bits(&r, 16);
    int rc = PRA_OK;
    if (count && (type == PRA_CHUNK_XOR || type == PRA_CHUNK_XOR2))
        rc = read_samples(c, type, &r, count);
    else if (count)
        rc = pra__histograms_decode(c, type, &r, count);
    if (rc == PRA_OK && r.why) {
        *why = r.why;
        rc = PRA_ERR_PROTO;
    }
    return rc;
}

int pra__chunk_explain(int rc, int32_t type, const char *why, pra_error *err)
{
    static const char *const names[] = {"unknown",          "xor",  "histogram",
                                        "floathistogram",   "xor2", "histogram_st",
                                        "floathistogram_st"};
    const char *name = names[type > 0 && type <= PRA_CHUNK_FLOAT_HISTOGRAM_ST ? type : 0];
    if (rc == PRA_ERR_PROTO)
        return pra__error(err, rc, 0, "malformed chunk of type %d (%s): %s", (int)type, name, why);
    if (rc == PRA_ERR_NOT_SUPPORTED)
        return pra__error(err, rc, 0,
                          "chunks of type %d (%s) cannot be decoded; the sender must use types 1 "
                          "to 4",
                          (int)type, name);
    if (rc == PRA_ERR_MEMORY_BUDGET)
        return pra__error(err, rc, 0, "the decoded chunk takes more than max_memory_bytes");
    return rc == PRA_ERR_NOMEM ? pra__nomem(err) : rc;
}

/* What was there before stays if decoding fails. */
static int decode_or_nothing(struct pra__columns *c, int32_t type, const uint8_t *data, size_t len,
                             const char **why)
{
    size_t lens[PRA__COL_COUNT];
    for (int i = 0; i < PRA__COL_COUNT; i++)
        lens[i] = c->col[i].len;
    int rc = pra__chunk_decode(c, type, data, len, why);
    for (int i = 0; rc && i < PRA__COL_COUNT; i++)
        c->col[i].len = lens[i];
    return rc ? rc : pra__columns_mark_series(c);
}

int pra_chunk_decode(int32_t type, const void *data, size_t len, pra_write_request *req,
                     const pra_limits *limits, pra_error *err)
{
    pra_limits l;
    const char *why = NULL;
    if (!req || (!data && len))
        return pra_error_set_cstr(err, PRA_ERR_INVALID_ARG, "request or data is missing");
    int rc = pra__write_request_open_series(req);
    if (rc)
        return pra_error_set_cstr(err, rc, "the request has no series that can be added to");
    rc = pra__limits_resolve(limits, &l);
    if (rc)
        return pra_error_set_cstr(err, rc, "limits are not valid");
    size_t budget = req->cols.budget;
    req->cols.budget = l.max_memory_bytes < SIZE_MAX ? (size_t)l.max_memory_bytes : SIZE_MAX;
    rc = decode_or_nothing(&req->cols, type, data, len, &why);
    req->cols.budget = budget;
    return rc ? pra__chunk_explain(rc, type, why, err) : PRA_OK;
}
