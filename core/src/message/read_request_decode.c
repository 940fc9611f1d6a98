/* SPDX-License-Identifier: Apache-2.0 */
/* A read request is small: the message is kept whole in the arena, and strings point into it. */
#include <inttypes.h>
#include <pra_proto/remote.pb.h>
#include <string.h>

#include "base/error.h"
#include "base/limits.h"
#include "message/read_request.h"
#include "wire/snappy.h"
#include "wire/tlv.h"

/* Return values as in message/decoder.h. */
struct decoder {
    struct pra__reader in;
    pra_read_request *req;
    struct pra_query *query; /* the one being read */
    const uint8_t *base;
    const pra_limits *limits;
    pra_error *err;
};

static size_t offset_of(const struct decoder *d)
{
    return (size_t)(d->in.pos - d->base);
}

static int over_limit(struct decoder *d, const char *name, const char *flag, uint64_t limit)
{
    return pra__error(d->err, PRA_ERR_QUERY_LIMIT, offset_of(d),
                      "the read request has more than %s (%" PRIu64 "; raise it with %s)", name,
                      limit, flag);
}

static int read_str(struct decoder *d, uint32_t wire, pra_str *out)
{
    const uint8_t *start;
    size_t len;
    int rc = pra__read_bytes(&d->in, wire, &start, &len);
    if (rc == PRA_OK)
        *out = (pra_str){(const char *)start, len};
    return rc;
}

/* ---- matchers */

static int read_matcher_field(struct decoder *d, struct pra_matcher *matcher)
{
    struct pra__field field;
    int rc = pra__read_field(&d->in, &field);
    if (rc)
        return rc;
    switch (field.number) {
    case prom_LabelMatcher_type_tag:
        return pra__read_i32(&d->in, field.wire, &matcher->type);
    case prom_LabelMatcher_name_tag:
        return read_str(d, field.wire, &matcher->name);
    case prom_LabelMatcher_value_tag:
        return read_str(d, field.wire, &matcher->value);
    default:
        return pra__skip_field(&d->in, field.wire);
    }
}

static int read_matcher(struct decoder *d, uint32_t wire)
{
    struct pra_matcher *matcher;
    const uint8_t *outer;
    if (d->req->matcher_count >= d->limits->max_matchers)
        return over_limit(d, "max_matchers", "--limit.read-matchers", d->limits->max_matchers);
    int rc = pra__read_request_push_matcher(d->req, d->query, &matcher);
    if (rc == PRA_OK)
        rc = pra__enter(&d->in, wire, &outer);
    while (rc == PRA_OK && d->in.pos < d->in.end)
        rc = read_matcher_field(d, matcher);
    if (rc == PRA_OK)
        pra__leave(&d->in, outer);
    return rc;
}

/* ---- hints: a repeated message is merged into the one before */

static int read_grouping(struct decoder *d, uint32_t wire)
{
    pra_str label;
    int rc = read_str(d, wire, &label);
    return rc ? rc : pra__read_request_push_grouping(d->req, d->query, label);
}

static int read_by(struct decoder *d, uint32_t wire, int32_t *out)
{
    uint64_t v;
    int rc = pra__read_u64(&d->in, wire, &v);
    if (rc == PRA_OK)
        *out = v != 0;
    return rc;
}

static int read_hints_field(struct decoder *d, pra_read_hints *hints)
{
    struct pra__field field;
    int rc = pra__read_field(&d->in, &field);
    if (rc)
        return rc;
    switch (field.number) {
    case prom_ReadHints_step_ms_tag:
        return pra__read_i64(&d->in, field.wire, &hints->step_ms);
    case prom_ReadHints_func_tag:
        return read_str(d, field.wire, &hints->func);
    case prom_ReadHints_start_ms_tag:
        return pra__read_i64(&d->in, field.wire, &hints->start_ms);
    case prom_ReadHints_end_ms_tag:
        return pra__read_i64(&d->in, field.wire, &hints->end_ms);
    case prom_ReadHints_grouping_tag:
        return read_grouping(d, field.wire);
    case prom_ReadHints_by_tag:
        return read_by(d, field.wire, &hints->by);
    case prom_ReadHints_range_ms_tag:
        return pra__read_i64(&d->in, field.wire, &hints->range_ms);
    default:
        return pra__skip_field(&d->in, field.wire);
    }
}

static int read_hints(struct decoder *d, uint32_t wire)
{
    const uint8_t *outer;
    int rc = pra__enter(&d->in, wire, &outer);
    d->query->hints.present = 1;
    while (rc == PRA_OK && d->in.pos < d->in.end)
        rc = read_hints_field(d, &d->query->hints);
    if (rc == PRA_OK)
        pra__leave(&d->in, outer);
    return rc;
}

/* ---- queries */

static int read_query_field(struct decoder *d)
{
    struct pra__field field;
    int rc = pra__read_field(&d->in, &field);
    if (rc)
        return rc;
    switch (field.number) {
    case prom_Query_start_timestamp_ms_tag:
        return pra__read_i64(&d->in, field.wire, &d->query->start_ms);
    case prom_Query_end_timestamp_ms_tag:
        return pra__read_i64(&d->in, field.wire, &d->query->end_ms);
    case prom_Query_matchers_tag:
        return read_matcher(d, field.wire);
    case prom_Query_hints_tag:
        return read_hints(d, field.wire);
    default:
        return pra__skip_field(&d->in, field.wire);
    }
}

static int read_query(struct decoder *d, uint32_t wire)
{
    const uint8_t *outer;
    if (d->req->query_count >= d->limits->max_queries)
        return over_limit(d, "max_queries", "--limit.read-queries", d->limits->max_queries);
    int rc = pra__read_request_push_query(d->req, &d->query);
    if (rc == PRA_OK)
        rc = pra__enter(&d->in, wire, &outer);
    while (rc == PRA_OK && d->in.pos < d->in.end)
        rc = read_query_field(d);
    if (rc == PRA_OK)
        pra__leave(&d->in, outer);
    return rc;
}

/* ---- the request */

static int read_accepted_one(struct decoder *d)
{
    int32_t type;
    int rc = pra__read_i32(&d->in, PRA__WIRE_VARINT, &type);
    return rc ? rc : pra__read_request_push_accepted(d->req, type);
}

/* Packed or not; as in message/histogram_decode.c the end of the message around it is what bounds
 * an element of a packed field. */
static int read_accepted(struct decoder *d, uint32_t wire)
{
    if (wire == PRA__WIRE_VARINT)
        return read_accepted_one(d);
    const uint8_t *start;
    size_t len;
    int rc = pra__read_bytes(&d->in, wire, &start, &len);
    if (rc)
        return rc;
    const uint8_t *stop = d->in.pos;
    d->in.pos = start;
    while (rc == PRA_OK && d->in.pos < stop)
        rc = read_accepted_one(d);
    return rc;
}

static int read_request_field(struct decoder *d)
{
    struct pra__field field;
    int rc = pra__read_field(&d->in, &field);
    if (rc)
        return rc;
    switch (field.number) {
    case prom_ReadRequest_queries_tag:
        return read_query(d, field.wire);
    case prom_ReadRequest_accepted_response_types_tag:
        return read_accepted(d, field.wire);
    default:
        return pra__skip_field(&d->in, field.wire);
    }
}

static int explain(const struct decoder *d, int rc)
{
    if (rc == PRA_ERR_PROTO)
        return pra__error(d->err, rc, offset_of(d), "malformed protocol buffer: %s at byte %zu",
                          d->in.why, offset_of(d));
    if (rc == PRA_ERR_MEMORY_BUDGET)
        return pra__error(d->err, rc, offset_of(d),
                          "the decoded read request takes more than max_memory_bytes (%" PRIu64
                          "; raise it with --limit.request-memory)",
                          d->limits->max_memory_bytes);
    return rc == PRA_ERR_NOMEM ? pra__nomem(d->err) : rc;
}

/* Puts the message into the arena: uncompressed, or copied. */
static int open_input(struct decoder *d, const void *data, size_t len, int is_snappy)
{
    void *text;
    size_t size = len;
    int rc = is_snappy ? pra__snappy_length(data, len, d->limits, &size, d->err)
                       : pra__check_decoded(len, d->limits, d->err);
    if (rc == PRA_OK)
        rc = pra__read_request_take(d->req, size, &text);
    if (rc)
        return rc;
    if (is_snappy)
        rc = pra__snappy_uncompress(data, len, text, size, d->err);
    else if (len)
        memcpy(text, data, len);
    d->base = d->in.pos = text;
    d->in.end = d->base + size;
    return rc;
}

static int decode(pra_read_request *req, const void *data, size_t len, int is_snappy,
                  const pra_limits *limits, pra_error *err)
{
    pra_limits l;
    struct decoder d = {.req = req, .limits = &l, .err = err};
    d.base = d.in.pos = (const uint8_t *)"";
    if (!req || (!data && len))
        return pra_error_set_cstr(err, PRA_ERR_INVALID_ARG, "request or data is missing");
    int rc = pra__limits_resolve(limits, &l);
    if (rc)
        return pra_error_set_cstr(err, rc, "limits are not valid");
    req->retain = l.retain_bytes < SIZE_MAX ? (size_t)l.retain_bytes : SIZE_MAX;
    pra_read_request_reset(req);
    req->arena.max_bytes = l.max_memory_bytes < SIZE_MAX ? (size_t)l.max_memory_bytes : SIZE_MAX;
    rc = open_input(&d, data, len, is_snappy);
    while (rc == PRA_OK && d.in.pos < d.in.end)
        rc = read_request_field(&d);
    if (rc) {
        rc = explain(&d, rc);
        pra_read_request_reset(req);
        return rc;
    }
    req->state = PRA__READ_DECODED;
    return PRA_OK;
}

int pra_read_request_decode(pra_read_request *req, const void *data, size_t len,
                            const pra_limits *limits, pra_error *err)
{
    return decode(req, data, len, 0, limits, err);
}

int pra_read_request_decode_snappy(pra_read_request *req, const void *data, size_t len,
                                   const pra_limits *limits, pra_error *err)
{
    return decode(req, data, len, 1, limits, err);
}
