/* SPDX-License-Identifier: Apache-2.0 */
/* Taking series and data out of columns: what is kept moves down over what is not. */
#ifndef PRA_MESSAGE_KEEP_H
#define PRA_MESSAGE_KEEP_H

#include "message/columns.h"

/* What a series owns, by the offsets as they were. */
struct pra__owned {
    pra_range labels;
    pra_range samples;
    pra_range exemplars;
    pra_range histograms;
};

static inline struct pra__owned pra__owned_by(const pra_columns *view, size_t index)
{
    const uint32_t *l = view->label_offsets + index, *s = view->sample_offsets + index;
    const uint32_t *e = view->exemplar_offsets + index, *h = view->histogram_offsets + index;
    return (struct pra__owned){
        {l[0], l[1] - l[0]}, {s[0], s[1] - s[0]}, {e[0], e[1] - e[0]}, {h[0], h[1] - h[0]}};
}

/* How much of each column is kept so far, once anything moves. */
struct pra__kept {
    int moving;
    size_t series;
    size_t metadata_read;
    size_t len[PRA__COL_COUNT];
};

/* view is what pra__columns_view gave before anything moved; its counts are the old ones. */

/* Begins: everything before series number index stays where it is. */
void pra__keep_all_before(struct pra__columns *c, struct pra__kept *k, const pra_columns *view,
                          size_t index);

/* Keeps the series with the first label_count of its labels and its samples; its exemplars and
 * histograms follow one by one. owned was taken from the view before. */
void pra__keep_series(struct pra__columns *c, struct pra__kept *k, const struct pra__owned *owned,
                      size_t label_count);
void pra__keep_exemplar(struct pra__columns *c, struct pra__kept *k, uint32_t exemplar,
                        uint32_t label_count);
void pra__keep_histogram(struct pra__columns *c, struct pra__kept *k, uint32_t histogram);

/* Once for each series, kept or not, in order, after it is settled: entries of metadata that stand
 * alone stay, those of the series go with it. */
void pra__keep_metadata(struct pra__columns *c, struct pra__kept *k, size_t index, int series_kept);

/* Cuts the columns to what is kept. */
void pra__keep_end(struct pra__columns *c, struct pra__kept *k);

#endif
