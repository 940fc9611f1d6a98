/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "pra.h"

/* Bytes gathered for the hash; only label sets too long for it are streamed. */
struct gather {
    size_t len;
    int streamed;
    XXH64_state_t state;
    char bytes[1024];
};

static void flush(struct gather *g)
{
    if (!g->streamed)
        (void)XXH64_reset(&g->state, 0);
    g->streamed = 1;
    (void)XXH64_update(&g->state, g->bytes, g->len);
    g->len = 0;
}

static void add(struct gather *g, const char *base, pra_span span)
{
    if (span.len >= sizeof(g->bytes) - g->len)
        flush(g);
    if (span.len >= sizeof(g->bytes)) {
        (void)XXH64_update(&g->state, base + span.off, span.len);
    } else if (span.len) {
        memcpy(g->bytes + g->len, base + span.off, span.len);
        g->len += span.len;
    }
    g->bytes[g->len++] = '\xFF';
}

uint64_t pra_labels_fingerprint(const char *base, const pra_label_span *labels, size_t count)
{
    struct gather g;
    g.len = 0;
    g.streamed = 0;
    for (size_t i = 0; i < count; i++) {
        add(&g, base, labels[i].name);
        add(&g, base, labels[i].value);
    }
    if (!g.streamed)
        return XXH64(g.bytes, g.len, 0);
    flush(&g);
    return XXH64_digest(&g.state);
}
