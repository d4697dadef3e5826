/* lib/text/answer.h - the answer inside a response. */
#ifndef RAL_ANSWER_H
#define RAL_ANSWER_H

#include <stdbool.h>
#include <stddef.h>

/**
 * Finds the answer: what stands between the first <answer> and the first
 * </answer> after it, without white space at its ends. This is the rule of
 * Video-R1, the first match of <answer>\s*(.*?)\s*</answer>: a pair inside
 * the thinking wins over a later one, and a second <answer> before the end
 * belongs to the text.
 *
 * @return whether there is one; *start, *n then point into text.
 */
bool ral_answer_extract(const char *text, size_t len, const char **start,
                        size_t *n);

/**
 * Whether the whole response has the form <think>...</think>, white space or
 * nothing, <answer>...</answer> (thinking) or <answer>...</answer> alone. Each
 * tag must come exactly once, and none before, after or inside.
 */
bool ral_answer_format(const char *text, size_t len, bool thinking);

/**
 * The choice that an answer names: B, b, (B), [B], B., B), B:, and those of
 * one capital with a mark and more text after white space ("B: Greek",
 * "(B) Greek"). Index 0 .. nchoices-1, or -1; prose is never searched.
 */
int ral_answer_letter(const char *text, size_t len, size_t nchoices);

#endif
