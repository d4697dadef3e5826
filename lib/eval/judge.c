/* lib/eval/judge.c - what a question's responses are worth. */
#include "eval/judge.h"

#include <stdio.h>
#include <string.h>

#include "eval/grounding.h"

static struct ral_scored scored(const struct ral_judge *j,
                                const struct ral_sample *s)
{
    return (struct ral_scored){&j->q->fields, j->q->info, s, j->q->P};
}

/* Whether the rule has what it needs of the row, told by an empty response. */
static int check_row(const struct ral_judge *j, struct ral_err *err)
{
    const struct ral_sample empty = {.text = ""};
    const struct ral_scored one = scored(j, &empty);
    double value, reward;

    return ral_reward_score(j->metric, &one, 1, &value, &reward, err) < 0;
}

/* The part of each visual token that the row's boxes cover. */
static int find_evidence(struct ral_judge *j, struct ral_err *err)
{
    const struct ral_question *q = j->q;
    struct ral_box *box;
    size_t boxes, n;
    int rc;

    for (size_t i = 0; i < q->n_media; i++)
        if (q->media[i].video)
            return 0;
    if ((rc = ral_boxes_read(&q->fields, q->media, q->n_media, &box, &boxes,
                             j->a, err)) < 0 ||
        boxes == 0)
        return rc;
    if ((rc = ral_cells_find(q->info, q->ids, q->P, q->media, q->n_media,
                             &j->token, &n, j->a, err)) < 0)
        return rc;
    j->cover = RAL_NEW(j->a, double, n);
    j->p = RAL_NEW(j->a, double, n);
    if (!j->cover || !j->p ||
        ral_boxes_cover(box, boxes, q->media, q->n_media,
                        ral_cells_merge(q->info), j->cover, j->a) < 0)
        return ral_err_nomem(err, "answer");
    j->n = n;
    return 0;
}

int ral_judge_open(struct ral_judge *j, const struct ral_rule_set *metric,
                   const struct ral_question *q, struct ral_arena *a,
                   struct ral_err *err)
{
    int rc;

    *j = (struct ral_judge){.metric = metric, .q = q, .a = a};
    if ((rc = check_row(j, err)) == 0)
        rc = find_evidence(j, err);
    if (rc)
        ral_err_at(err, "record %s", q->id);
    return rc;
}

/* Where the query looks that predicts the answer's first token: the last of
 * the recorded layers, the mean of its heads. */
static int look(const struct ral_judge *j, const struct ral_sample *s,
                struct ral_outcome *x, struct ral_err *err)
{
    const struct ral_question *q = j->q;
    double *p;
    size_t t;
    int rc;

    x->evidence = j->n ? RAL_EVIDENCE_SKIPPED : RAL_EVIDENCE_UNBOXED;
    if (!j->n || !s->attn || !q->info->n_layers || !ral_answer_row(s, &t))
        return 0;
    if (!(p = RAL_NEW(j->a, double, q->P + t)))
        return ral_err_nomem(err, "answer");
    if ((rc = ral_attn_row(q->info, q->P, s, t, RAL_ATTN_LAST, p, err)) < 0)
        return rc;
    for (size_t i = 0; i < j->n; i++)
        j->p[i] = p[j->token[i]];
    if (ral_evidence_mass(j->p, j->cover, j->n, &x->mass, &x->uniform))
        x->evidence = RAL_EVIDENCE_SEEN;
    return 0;
}

/* The question's id, or of several answers one of their own. */
static const char *answer_id(const struct ral_judge *j, size_t k)
{
    const char *id = j->q->id;
    const size_t size = strlen(id) + 24;
    char *own;

    if (j->q->G == 1)
        return id;
    if ((own = ral_arena_alloc(j->a, size, 1)))
        snprintf(own, size, "%s/%zu", id, k + 1);
    return own;
}

static int judge(const struct ral_judge *j, size_t k, struct ral_outcome *x,
                 struct ral_err *err)
{
    const struct ral_fields *f = &j->q->fields;
    const struct ral_sample *s = &j->q->samples[k];
    const struct ral_scored one = scored(j, s);
    double value, reward;
    int rc;

    *x = (struct ral_outcome){
        .id = answer_id(j, k),
        .category = f->category,
        .cluster = !f->cluster && j->q->G > 1 ? j->q->id : f->cluster,
    };
    if (!x->id)
        return ral_err_nomem(err, "answer");
    if ((rc = ral_reward_score(j->metric, &one, 1, &value, &reward, err)) < 0)
        return rc;
    x->correct = value == 1;
    x->parsed = ral_rule_parses(j->metric->rule[0], &one);
    return look(j, s, x, err);
}

int ral_judge_sample(const struct ral_judge *j, size_t k,
                     struct ral_outcome *x, struct ral_err *err)
{
    const int rc = judge(j, k, x, err);

    return rc < 0 ? ral_err_at(err, "record %s: samples[%zu]", j->q->id, k)
                  : 0;
}
