/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the head of a request says, and whether everyone who reads it reads the same.
 *
 * libmicrohttpd before 1.0 is lenient: a lone LF ends a line, what follows a NUL in a value is
 * dropped, a folded line continues the *name* above it. A proxy that reads such a head differently
 * sees another end of the request, and what follows becomes a request that it never saw. The raw
 * bytes are not handed out, but all pointers are into the buffer they were read into, with each CR
 * and LF of a line end and each colon replaced by a NUL. So a head in which everything stands where
 * "method SP target SP version CRLF *(name colon OWS value CRLF) CRLF" puts it was sent like that.
 * Version 1.0 checks for itself and uses its buffer in another way.
 *
 * The framing of chunked bodies stays hidden, so a connection ends with the first of them.
 */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

bool pra__has_lenient_heads(void)
{
    return strncmp(MHD_get_version(), "0.", 2) == 0;
}

struct scan {
    pra__conn *conn;
    const char *at, *end; /* at: where the next line begins; NULL: not looked at */
    unsigned lengths, encodings, hosts;
    bool chunked, malformed, no_memory;
};

/* ---- text */

static bool is_token(const char *name, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char ch = (unsigned char)name[i];
        if (ch <= ' ' || ch >= 0x7F || strchr("\"(),/:;<=>?@[\\]{}", ch))
            return false;
    }
    return len > 0;
}

/* No control characters, and none up to `least`; a tab is allowed where a space is. */
static bool is_text(const char *text, size_t len, unsigned char least)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char ch = (unsigned char)text[i];
        if ((ch < least && !(ch == '\t' && least == ' ')) || ch == 0x7F)
            return false;
    }
    return true;
}

static bool equals_nocase(const char *text, size_t len, const char *lower)
{
    if (len != strlen(lower))
        return false;
    for (size_t i = 0; i < len; i++) {
        char ch = text[i];
        if ((ch >= 'A' && ch <= 'Z' ? ch + 32 : ch) != lower[i])
            return false;
    }
    return true;
}

/* ---- where things stand */

/* Bytes from `from` to `to`; SIZE_MAX if that is before it. */
static size_t gap(const char *from, const char *to)
{
    return (uintptr_t)to < (uintptr_t)from ? SIZE_MAX : (uintptr_t)to - (uintptr_t)from;
}

/* A line ends at `at`, and what follows it is still of this head. */
static bool ends_line(const struct scan *s, const char *at)
{
    size_t left = gap(at, s->end);
    return left >= 2 && left <= CONNECTION_BYTES && at[0] == 0 && at[1] == 0;
}

/* The request line stands as it was sent: s->at is behind it. */
static bool follow_line(struct scan *s, const char *version)
{
    const pra__conn *c = s->conn;
    if (c->head_bytes == 0 || c->head_bytes > CONNECTION_BYTES)
        return false;
    s->end = c->method + c->head_bytes;
    s->at = version + strlen(version) + 2;
    return gap(c->method, version) < c->head_bytes &&
           c->raw_target == c->method + strlen(c->method) + 1 &&
           version == c->raw_target + c->target_len + 1 && ends_line(s, s->at - 2);
}

/* Likewise a header. */
static bool follow_header(struct scan *s, const pra_header *h)
{
    const char *colon = h->name.ptr + h->name.len;
    size_t spaces = gap(colon + 1, h->value.ptr);
    if (h->name.ptr != s->at || *colon != 0 || spaces > CONNECTION_BYTES)
        return false;
    for (size_t i = 1; i <= spaces; i++)
        if (colon[i] != ' ' && colon[i] != '\t')
            return false;
    s->at = h->value.ptr + h->value.len + 2;
    return ends_line(s, s->at - 2);
}

/* ---- headers */

bool pra__head_add(pra__conn *c, pra_header header)
{
    if (c->header_count == c->header_cap) {
        size_t cap = c->header_cap ? c->header_cap * 2 : 16;
        pra_header *grown = pra__take(c->server, c->headers, c->header_cap * sizeof(*c->headers),
                                      cap * sizeof(*c->headers));
        if (!grown)
            return false;
        c->headers = grown;
        c->header_cap = cap;
    }
    c->headers[c->header_count++] = header;
    return true;
}

static enum MHD_Result scan_header(void *cls, enum MHD_ValueKind kind, const char *name,
                                   size_t name_len, const char *value, size_t value_len)
{
    (void)kind;
    struct scan *s = cls;
    pra__conn *c = s->conn;
    const pra_header header = {{name, name_len}, {value, value_len}};
    s->malformed |= !is_token(name, name_len) || !is_text(value, value_len, ' ') ||
                    (s->at && !follow_header(s, &header));
    if (equals_nocase(name, name_len, "content-length")) {
        s->lengths++;
        c->body_announced = strtoull(value, NULL, 10); /* libmicrohttpd has checked it */
    } else if (equals_nocase(name, name_len, "transfer-encoding")) {
        s->encodings++;
        s->chunked = equals_nocase(value, value_len, "chunked");
    } else if (equals_nocase(name, name_len, "host")) {
        s->hosts++;
    } else if (equals_nocase(name, name_len, "expect")) {
        c->expects = true;
    }
    s->no_memory |= !pra__head_add(c, header);
    return s->malformed || s->no_memory ? MHD_NO : MHD_YES;
}

static const char *judge(const struct scan *s, const char *version)
{
    if (s->malformed)
        return "malformed request line or headers: lines end in CRLF, are not folded and hold no "
               "control characters";
    if (s->encodings && s->lengths)
        return "both Content-Length and Transfer-Encoding: send one of them";
    if (s->lengths > 1)
        return "more than one Content-Length";
    if (s->encodings > 1 || (s->encodings && !s->chunked))
        return "only Transfer-Encoding: chunked is supported";
    if (s->encodings && strcmp(version, "HTTP/1.0") == 0)
        return "HTTP/1.0 has no Transfer-Encoding";
    if (s->hosts > 1)
        return "more than one Host";
    return NULL;
}

bool pra__head_read(pra__conn *c, const char *version, const char **wrong)
{
    struct scan s = {.conn = c, .no_memory = !c->raw_target};
    const union MHD_ConnectionInfo *size =
        MHD_get_connection_info(c->mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    c->head_bytes = size ? size->header_size : 0;
    s.malformed = !is_token(c->method, strlen(c->method)) ||
                  !is_text(c->target, c->target_len, '!') ||
                  (c->server->lenient_heads && !s.no_memory && !follow_line(&s, version));
    if (!s.malformed && !s.no_memory)
        (void)MHD_get_connection_values_n(c->mhd, MHD_HEADER_KIND, scan_header, &s);
    if (s.at && !s.malformed && !s.no_memory) /* and the empty line is the end */
        s.malformed = !ends_line(&s, s.at) || s.at + 2 != s.end;
    *wrong = judge(&s, version);
    c->chunked = s.encodings > 0;
    return !s.no_memory;
}
