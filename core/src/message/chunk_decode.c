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
    int stale; /* XOR2: this value is the stale marker, which is not in value */
};

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

static void next_xor(struct samples *s, size_t index)
{
    static const uint8_t bits[4] = {0, 14, 17, 20};
    if (index < 2) {
        first_sample(s, index);
    } else {
        unsigned ones = pra__get_ones(&s->r, 4);
        if (ones == 4)
            s->delta += pra__get_many_bits(&s->r, 64);
        else if (ones)
            s->delta += (uint64_t)pra__get_fitted(&s->r, bits[ones]);
        s->timestamp_ms += s->delta;
    }
    if (index > 0)
        pra__get_xor(&s->r, &s->value);
}

/* XOR2 keeps stale markers out of the chain of values, and joins the codes for a time and a value
 * that go on as before. */
static void xor2_value(struct samples *s)
{
    unsigned ones = pra__get_ones(&s->r, 3);
    if (ones == 3)
        s->stale = 1;
    else if (ones)
        pra__get_xor_window(&s->r, &s->value, ones == 2);
}

static uint64_t get_signed(struct pra__bit_reader *r, unsigned count)
{
    uint64_t v = pra__get_bits(r, count);
    return v >> (count - 1) ? v - (UINT64_C(1) << count) : v;
}

static void next_xor2(struct samples *s, size_t index)
{
    s->stale = 0;
    if (index < 2) {
        first_sample(s, index);
        if (index == 1) {
            xor2_value(s);
        } else if (s->value.bits == PRA_STALE_NAN_BITS) {
            s->value.bits = 0;
            s->stale = 1;
        }
        return;
    }
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
    s->stale = ones == 5;
    if (ones > 1 && ones < 5)
        xor2_value(s);
}

/* Start timestamps of XOR2: as the distance from the sample before, from the sample on where they
 * change for the first time; that is in the low bits of a byte, and the top one says whether there
 * is one with the first sample. */
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

/* A sample has at least a bit, but the first. */
static int samples_plausible(const struct pra__bit_reader *r, size_t count)
{
    return count <= 1 || count - 1 <= pra__bits_left(r);
}

int pra__samples_decode(struct pra__columns *c, int32_t type, struct pra__bit_reader *r,
                        size_t count)
{
    struct samples s = {.r = *r, .value.leading = PRA__NO_WINDOW};
    struct starts starts = {0};
    const size_t len = c->col[PRA__COL_TIMESTAMPS].len;
    if (type == PRA_CHUNK_XOR2)
        starts.head = (unsigned)pra__get_bits(&s.r, 8);
    if (!samples_plausible(&s.r, count))
        pra__bits_malformed(&s.r, "unexpected end");
    int rc = s.r.why ? PRA_OK
                     : pra__columns_reserve(c, PRA__COL_TIMESTAMPS, PRA__COL_VALUES, len + count);
    if (rc == PRA_OK && (starts.head || c->col[PRA__COL_START_TIMESTAMPS].len))
        rc = pra__columns_fill_starts(c, len + count);
    int64_t *timestamps = PRA__COLUMN(int64_t, c, PRA__COL_TIMESTAMPS) + len;
    double *values = PRA__COLUMN(double, c, PRA__COL_VALUES) + len;
    int64_t *start = PRA__COLUMN(int64_t, c, PRA__COL_START_TIMESTAMPS) + (starts.head ? len : 0);
    for (size_t i = 0; rc == PRA_OK && !s.r.why && i < count; i++) {
        uint64_t before = s.timestamp_ms;
        uint64_t bits;
        if (type == PRA_CHUNK_XOR)
            next_xor(&s, i);
        else
            next_xor2(&s, i);
        bits = s.stale ? PRA_STALE_NAN_BITS : s.value.bits;
        timestamps[i] = (int64_t)s.timestamp_ms;
        memcpy(&values[i], &bits, sizeof(bits));
        if (starts.head) {
            next_start(&starts, &s.r, i, before, s.timestamp_ms);
            start[i] = (int64_t)starts.start_ms;
        }
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
    if (count == 0)
        ; /* what else is there has no meaning then */
    else if (type == PRA_CHUNK_XOR || type == PRA_CHUNK_XOR2)
        rc = pra__samples_decode(c, type, &r, count);
    else
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
