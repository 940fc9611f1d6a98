/* SPDX-License-Identifier: Apache-2.0 */
/* Whole series of one handle into another. */
#ifndef PRA_MESSAGE_WRITE_COPY_H
#define PRA_MESSAGE_WRITE_COPY_H

#include "message/write_request.h"

/* How much there was in a handle that is built. */
struct pra__write_mark {
    size_t len[PRA__COL_COUNT];
    size_t series;
};

void pra__write_mark(const pra_write_request *req, struct pra__write_mark *mark);
/* Takes out what came since. */
void pra__write_back(pra_write_request *req, const struct pra__write_mark *mark);

struct pra__copier {
    pra_write_request *to; /* open for building */
    const pra_columns *from;
    int has_text; /* all of from's text is in to, moved by shift */
    uint32_t shift;
    size_t first; /* series of from whose labels are in to, and whose data are to follow */
    size_t count;
    size_t entry; /* of metadata, the next to look at: series come in their order */
};

/* Takes all text over at once: for most of the series. All of these return PRA_OK,
 * PRA_ERR_MEMORY_BUDGET (more than 4 GiB - 1 of a kind), PRA_ERR_NOMEM; to is to be taken back
 * then.
 */
int pra__copy_text(struct pra__copier *k);
/* Begins a series whose data are those of series number index, with room for so many labels, and
 * bytes of text that is not from's. They follow, or pra__copy_own_labels; then pra__copy_end. */
int pra__copy_begin(struct pra__copier *k, size_t index, size_t labels, size_t bytes);
/* A label of it: text of from, if it is there, else copied. There is room. */
void pra__copy_label(struct pra__copier *k, pra_str name, pra_str value);
/* Its labels are those of series number index, whose text is there, moved by shift. There is room.
 */
void pra__copy_own_labels(struct pra__copier *k, size_t index);
void pra__copy_end(struct pra__copier *k);
/* After the last series: data follow their labels in runs. */
int pra__copy_flush(struct pra__copier *k);
/* Entries of metadata that stand alone. */
int pra__copy_families(struct pra__copier *k);

#endif
