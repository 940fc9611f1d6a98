/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct code_row {
    int32_t code;
    int32_t http_status;
    const char *name;
    const char *text;
};

static const struct code_row codes[] = {
    {PRA_OK, 204, "ok", "success"},
    {PRA_DONE, 204, "done", "done"},
    {PRA_ERR_INVALID_ARG, 500, "invalid_arg", "an argument is outside its domain"},
    {PRA_ERR_STATE, 500, "state", "the call is not allowed now"},
    {PRA_ERR_BUSY, 500, "busy", "the handle is in use"},
    {PRA_ERR_NOMEM, 503, "nomem", "out of memory"},
    {PRA_ERR_UNSUPPORTED_OPTION, 500, "unsupported_option",
     "an option that this version of the library does not know"},
    {PRA_ERR_NOT_SUPPORTED, 404, "not_supported", "not supported"},
    {PRA_ERR_METHOD, 405, "method", "method not allowed"},
    {PRA_ERR_PATH, 404, "path", "neither a write nor a read path"},
    {PRA_ERR_CONTENT_TYPE, 415, "content_type", "unsupported content type"},
    {PRA_ERR_CONTENT_ENCODING, 415, "content_encoding", "unsupported content encoding"},
    {PRA_ERR_BODY_TOO_LARGE, 413, "body_too_large", "request body too large"},
    {PRA_ERR_BODY_INCOMPLETE, 400, "body_incomplete", "request body incomplete"},
    {PRA_ERR_HEAD_TOO_LARGE, 431, "head_too_large", "request line and headers too large"},
    {PRA_ERR_SNAPPY, 400, "snappy", "not a valid snappy block"},
    {PRA_ERR_SNAPPY_RATIO, 400, "snappy_ratio", "impossible snappy length"},
    {PRA_ERR_DECODED_TOO_LARGE, 400, "decoded_too_large", "decoded message too large"},
    {PRA_ERR_PROTO, 400, "proto", "malformed protocol buffer"},
    {PRA_ERR_MEMORY_BUDGET, 413, "memory_budget", "request over its memory budget"},
    {PRA_ERR_FRAME, 500, "frame", "malformed stream frame"},
    {PRA_ERR_LABELS, 400, "labels", "invalid labels"},
    {PRA_ERR_LABEL_COUNT, 400, "label_count", "too many labels"},
    {PRA_ERR_LABEL_NAME_LENGTH, 400, "label_name_length", "label name too long"},
    {PRA_ERR_LABEL_VALUE_LENGTH, 400, "label_value_length", "label value too long"},
    {PRA_ERR_MATCHER, 400, "matcher", "invalid matcher"},
    {PRA_ERR_PATTERN_TOO_LONG, 400, "pattern_too_long", "regular expression too long"},
    {PRA_ERR_PATTERN_TOO_COSTLY, 400, "pattern_too_costly", "regular expression too costly"},
    {PRA_ERR_RESPONSE_TYPE, 400, "response_type", "no supported response type"},
    {PRA_ERR_SAMPLE_LIMIT, 400, "sample_limit", "too many samples"},
    {PRA_ERR_RESPONSE_TOO_LARGE, 400, "response_too_large", "answer too large"},
    {PRA_ERR_QUERY_LIMIT, 400, "query_limit", "too many queries or matchers"},
    {PRA_ERR_HISTOGRAM, 400, "histogram", "invalid native histogram"},
    {PRA_ERR_SYMBOLS, 400, "symbols", "a reference that names no symbol"},
    {PRA_ERR_SERIES, 400, "series", "invalid series"},
    {PRA_ERR_EXEMPLAR, 400, "exemplar", "invalid exemplar"},
    {PRA_ERR_REJECT, 400, "reject", "refused by the storage"},
    {PRA_ERR_RETRY, 503, "retry", "the storage cannot do it now"},
    {PRA_ERR_USER, 500, "user", "the storage raised an exception"},
    {PRA_ERR_CALLBACK, 500, "callback", "the storage failed"},
    {PRA_ERR_CANCELLED, 503, "cancelled", "given up by the host"},
    {PRA_ERR_IO, 503, "io", "input or output failed"},
    {PRA_ERR_CORRUPT, 500, "corrupt", "the store is damaged"},
};

static const struct code_row *find_code(int32_t code)
{
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
        if (codes[i].code == code)
            return &codes[i];
    return NULL;
}

const char *pra_strerror(int32_t code)
{
    const struct code_row *row = find_code(code);
    return row ? row->text : "unknown error";
}

const char *pra_error_name(int32_t code)
{
    const struct code_row *row = find_code(code);
    return row ? row->name : "unknown";
}

int32_t pra_http_status(int32_t code)
{
    const struct code_row *row = find_code(code);
    return row ? row->http_status : 500;
}

/* Cuts an incomplete UTF-8 sequence off the end and makes the rest one line. */
static void tidy(char *message)
{
    size_t len = strlen(message);
    size_t start = len;
    while (start > 0 && len - start < 3 && ((unsigned char)message[start - 1] & 0xC0) == 0x80)
        start--;
    if (start > 0 && (unsigned char)message[start - 1] >= 0xC0) {
        unsigned char lead = (unsigned char)message[start - 1];
        size_t want = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
        if (len - (start - 1) < want)
            message[start - 1] = 0;
    }
    for (char *p = message; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7F)
            *p = ' ';
}

static void fill(pra_error *err, int32_t code, uint64_t offset)
{
    err->code = code;
    err->http_status = pra_http_status(code);
    err->offset = offset;
    err->retry_after_s = 0;
    tidy(err->message);
}

int pra__error(pra_error *err, int32_t code, uint64_t offset, const char *fmt, ...)
{
    if (err) {
        va_list args;
        va_start(args, fmt);
        (void)vsnprintf(err->message, sizeof(err->message), fmt, args);
        va_end(args);
        fill(err, code, offset);
    }
    return code;
}

int pra__nomem(pra_error *err)
{
    return pra_error_set_cstr(err, PRA_ERR_NOMEM, "out of memory");
}

int pra_error_set(pra_error *err, int32_t code, pra_str message)
{
    if (err) {
        size_t len = message.len < sizeof(err->message) ? message.len : sizeof(err->message) - 1;
        for (size_t i = 0; i < len; i++)
            err->message[i] = message.ptr[i] ? message.ptr[i] : ' ';
        err->message[len] = 0;
        fill(err, code, 0);
    }
    return code;
}

int pra_error_set_cstr(pra_error *err, int32_t code, const char *message_cstr)
{
    pra_str message = {message_cstr, message_cstr ? strlen(message_cstr) : 0};
    return pra_error_set(err, code, message);
}
