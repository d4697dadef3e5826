/* lib/job/reward.c - ral-reward: read rollouts, write them scored. */
#include "job/reward.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/failures.h"
#include "base/file.h"
#include "base/version.h"
#include "job/common.h"
#include "reward/rules.h"
#include "rl/advantage.h"
#include "stream/cbor.h"
#include "stream/edit.h"
#include "stream/fields.h"
#include "stream/group.h"
#include "stream/header.h"
#include "stream/reader.h"
#include "stream/writer.h"

struct tally {
    size_t records, flat; // flat: all its rewards are equal
    struct ral_failures failed;
    struct ral_spread reward;
    double rule[RAL_RULES_MAX]; // sums
};

struct job {
    const struct ral_reward_job *set;
    const struct ral_log *log;
    const struct ral_stream_info *info;
    struct ral_rule_set rules;
    struct ral_advantage how;
    struct tally tally;
    struct ral_arena a; // of a record
    struct ral_buf out; // the record as it is written
};

/* A record's samples and their new values. */
struct scores {
    struct ral_scored *sample; // [G]
    size_t G;
    double *value;             // [rules][G]
    double *reward;            // [G]
    double *advantage;         // [G]
    const char *error;         // NULL: scored
};

/* ---- scoring one record ---- */

/* What rules that read texts alone are given: no array is looked into. */
static int read_texts(struct job *j, const struct ral_item *rec,
                      struct ral_group *g, struct ral_err *err)
{
    const struct ral_item *list = ral_item_get(rec, "samples");
    int rc;

    *g = (struct ral_group){.item = rec};
    if (!list || list->type != RAL_ITEM_ARRAY)
        return ral_err_set(err, -RAL_EINVAL, "samples is no list");
    g->G = list->n;
    if (!(g->samples = RAL_ZNEW(&j->a, struct ral_sample, g->G + 1)))
        return ral_err_nomem(err, "record");
    for (size_t i = 0; i < g->G; i++)
        if ((rc = ral_item_text(ral_item_get(&list->child[i], "text"), "text",
                                &g->samples[i].text, &g->samples[i].text_len,
                                err)) < 0)
            return ral_err_at(err, "samples[%zu]", i);
    return 0;
}

static int read_scored(struct job *j, const struct ral_item *rec,
                       const char *id, struct scores *s, struct ral_err *err)
{
    struct ral_fields *row = RAL_NEW(&j->a, struct ral_fields, 1);
    struct ral_group g;
    int rc;

    if (ral_rule_set_tokens(&j->rules)) {
        if ((rc = ral_group_decode(&g, j->info, rec, &j->a, err)) < 0)
            return rc; // it names the record
    } else if ((rc = read_texts(j, rec, &g, err)) < 0) {
        return ral_err_at(err, "record %s", id);
    }
    s->G = g.G;
    s->sample = RAL_NEW(&j->a, struct ral_scored, g.G + 1);
    s->value = RAL_NEW(&j->a, double, j->rules.n * g.G + 1);
    s->reward = RAL_NEW(&j->a, double, g.G + 1);
    s->advantage = RAL_ZNEW(&j->a, double, g.G + 1);
    if (!row || !s->sample || !s->value || !s->reward || !s->advantage)
        return ral_err_nomem(err, "record");
    if ((rc = ral_fields_read(row, rec, &j->a, err)) < 0)
        return ral_err_at(err, "record %s", id);
    for (size_t i = 0; i < g.G; i++)
        s->sample[i] = (struct ral_scored){
            .row = row, .info = j->info, .sample = &g.samples[i], .P = g.P};
    return 0;
}

static int check_rewards(const struct job *j, const struct scores *s,
                         const char *id, struct ral_err *err)
{
    for (size_t i = 0; i < s->G; i++) {
        for (size_t k = 0; k < j->rules.n; k++)
            if (!isfinite(s->value[k * s->G + i]))
                return ral_err_set(err, -RAL_EINVAL,
                                   "record %s: samples[%zu]: rule %s gives %g",
                                   id, i, j->rules.rule[k]->name,
                                   s->value[k * s->G + i]);
        if (!isfinite(s->reward[i]))
            return ral_err_set(err, -RAL_EINVAL,
                               "record %s: samples[%zu]: the reward is %g", id,
                               i, s->reward[i]);
    }
    return 0;
}

/* Values and rewards, or why the record cannot be scored. */
static int score(struct job *j, struct scores *s, const char *id,
                 struct ral_err *err)
{
    struct ral_err why = {0};
    const int rc = ral_reward_score(&j->rules, s->sample, s->G, s->value,
                                    s->reward, &why);

    if (rc == 0)
        return check_rewards(j, s, id, err);
    if (rc != -RAL_EINVAL) {
        *err = why;
        return ral_err_at(err, "record %s", id);
    }
    s->error = ral_arena_text(&j->a, why.msg, strlen(why.msg));
    return s->error ? 0 : ral_err_nomem(err, "record");
}

static void count(struct job *j, const struct scores *s, const char *id)
{
    struct tally *t = &j->tally;

    if (s->error) {
        ral_failures_add(&t->failed, "record %s: %s", id, s->error);
        return;
    }
    for (size_t i = 0; i < s->G; i++) {
        ral_spread_add(&t->reward, s->reward[i]);
        for (size_t k = 0; k < j->rules.n; k++)
            t->rule[k] += s->value[k * s->G + i];
    }
    t->flat += s->G > 0 && ral_rewards_flat(s->G, s->reward);
}

/* {name: value} of the rules, or a text, encoded in the arena. */
static int encode(struct job *j, const struct scores *s, size_t i,
                  struct ral_edit *e, struct ral_err *err)
{
    struct ral_buf b = {0};
    uint8_t *copy = NULL;

    if (s->error) {
        ral_cbor_text_lossy(&b, s->error, strlen(s->error));
    } else {
        ral_cbor_map(&b, j->rules.n);
        for (size_t k = 0; k < j->rules.n; k++) {
            ral_cbor_key(&b, j->rules.rule[k]->name);
            ral_cbor_double(&b, s->value[k * s->G + i]);
        }
    }
    if (!b.failed && (copy = ral_arena_alloc(&j->a, b.len, 1))) {
        memcpy(copy, b.data, b.len);
        e->type = RAL_EDIT_RAW;
        e->raw = copy;
        e->raw_len = b.len;
    }
    ral_buf_release(&b);
    return copy ? 0 : ral_err_nomem(err, "record");
}

enum { REWARDS, REWARD, ADVANTAGE, STATUS, ERROR, EDITS };

/* A failed sample keeps no number of an earlier run. */
static int edit(struct job *j, const struct scores *s, size_t i,
                struct ral_edit *e, struct ral_err *err)
{
    static const char *const key[EDITS] = {"rewards", "reward", "advantage",
                                           "status", "error"};

    for (size_t k = 0; k < EDITS; k++)
        e[k] = (struct ral_edit){.key = key[k], .type = RAL_EDIT_DROP};
    e[STATUS].type = RAL_EDIT_TEXT;
    e[STATUS].text = s->error ? "failed" : "ok";
    if (!s->error) {
        e[REWARD].type = e[ADVANTAGE].type = RAL_EDIT_F64;
        e[REWARD].num = s->reward[i];
        e[ADVANTAGE].num = s->advantage[i];
    }
    return encode(j, s, i, &e[s->error ? ERROR : REWARDS], err);
}

static int rewrite(struct job *j, const struct ral_item *rec,
                   const struct scores *s, struct ral_err *err)
{
    struct ral_edits *sample = RAL_NEW(&j->a, struct ral_edits, s->G + 1);
    struct ral_edit *e = RAL_NEW(&j->a, struct ral_edit, s->G * EDITS + 1);
    int rc;

    if (!sample || !e)
        return ral_err_nomem(err, "record");
    for (size_t i = 0; i < s->G; i++) {
        sample[i] = (struct ral_edits){e + i * EDITS, EDITS};
        if ((rc = edit(j, s, i, e + i * EDITS, err)) < 0)
            return rc;
    }
    return ral_record_replace(&j->out, rec, (struct ral_edits){0}, sample, s->G,
                              err);
}

/* Advantages that wait for the batch are 0 until the second pass. */
static int score_samples(struct job *j, const struct ral_item *rec,
                         const char *id, struct ral_err *err)
{
    struct scores s = {0};
    int rc = read_scored(j, rec, id, &s, err);

    if (rc < 0 || (rc = score(j, &s, id, err)) < 0)
        return rc;
    count(j, &s, id);
    if (!s.error && !ral_advantage_waits(&j->how))
        ral_advantage(&j->how, NULL, s.G, s.reward, s.advantage);
    if ((rc = rewrite(j, rec, &s, err)) < 0)
        return ral_err_at(err, "record %s", id);
    return 0;
}

static bool is_ok(const struct ral_item *rec)
{
    const struct ral_item *status = ral_item_get(rec, "status");

    return !status || ral_item_is(status, "ok");
}

static int copy(struct job *j, const struct ral_item *rec, struct ral_err *err)
{
    if (ral_buf_put(&j->out, rec->raw, rec->raw_len) < 0)
        return ral_err_nomem(err, "record");
    return 0;
}

/* Leaves the record as it is to be written in j->out. */
static int score_record(struct job *j, const struct ral_item *rec,
                        struct ral_err *err)
{
    const char *id;
    int rc = ral_item_string(ral_item_get(rec, "id"), "a record's id", &j->a,
                             &id, err);

    if (rc < 0)
        return rc;
    j->tally.records++;
    if (is_ok(rec))
        return score_samples(j, rec, id, err);
    ral_failures_add(&j->tally.failed, "record %s had failed before", id);
    return copy(j, rec, err);
}

/* The rewards that the first pass has written; false: it could not. */
static bool rewards_of(const struct ral_item *list, double *reward)
{
    for (size_t i = 0; i < list->n; i++)
        if (ral_item_number(ral_item_get(&list->child[i], "reward"), "reward",
                            &reward[i], NULL) < 0)
            return false;
    return true;
}

/* The second pass, when all rewards of the batch are known. */
static int compare_record(struct job *j, const struct ral_item *rec,
                          struct ral_err *err)
{
    const struct ral_item *list = ral_item_get(rec, "samples");
    const size_t G = list ? list->n : 0;
    double *r = RAL_NEW(&j->a, double, G + 1);
    struct ral_edits *sample = RAL_NEW(&j->a, struct ral_edits, G + 1);
    struct ral_edit *e = RAL_NEW(&j->a, struct ral_edit, G + 1);

    if (!r || !sample || !e)
        return ral_err_nomem(err, "record");
    if (!is_ok(rec) || G == 0 || !rewards_of(list, r))
        return copy(j, rec, err);
    ral_advantage(&j->how, &j->tally.reward, G, r, r);
    for (size_t i = 0; i < G; i++) {
        e[i] = (struct ral_edit){
            .key = "advantage", .type = RAL_EDIT_F64, .num = r[i]};
        sample[i] = (struct ral_edits){&e[i], 1};
    }
    return ral_record_replace(&j->out, rec, (struct ral_edits){0}, sample, G,
                              err);
}

/* ---- streams ---- */

typedef int record_fn(struct job *j, const struct ral_item *rec,
                      struct ral_err *err);

/* Every record of r through fn to w, and its end mark. */
static int pass(struct job *j, struct ral_reader *r, struct ral_writer *w,
                record_fn *fn, struct ral_progress *p, struct ral_err *err)
{
    struct ral_item *rec;
    int rc;

    for (;;) {
        ral_arena_reset(&j->a);
        j->out.len = 0;
        if ((rc = ral_reader_next(r, &j->a, &rec, err)) <= 0)
            return rc;
        if ((rc = fn(j, rec, err)) < 0)
            return ral_err_at(err, "%s", ral_reader_name(r));
        if ((rc = ral_writer_put(w, j->out.data, j->out.len, err)) < 0)
            return rc;
        if (p)
            ral_progress_add(p, 1);
    }
}

static int make_header(const struct job *j, const struct ral_reader *r,
                       bool keep_shard, struct ral_buf *out,
                       struct ral_err *err)
{
    const struct ral_provenance who = {.program = "ral-reward",
                                       .version = RAL_VERSION,
                                       .args = j->set->args,
                                       .n_args = j->set->n_args};

    return ral_header_derive(ral_reader_header(r), out, &who,
                             (struct ral_edits){0}, keep_shard, err);
}

/* All records of from to fd, under the header that origin's leads to. */
static int filter(struct job *j, const struct ral_reader *origin,
                  bool keep_shard, struct ral_reader *from, record_fn *fn,
                  int fd, const char *name, struct ral_progress *p,
                  struct ral_err *err)
{
    struct ral_buf header = {0};
    struct ral_writer *w = NULL;
    int rc = make_header(j, origin, keep_shard, &header, err);

    if (rc == 0)
        rc = ral_writer_open(&w, fd, name, 1, err);
    if (rc == 0)
        rc = ral_writer_header(w, header.data, header.len, err);
    ral_buf_release(&header);
    if (rc == 0 && (rc = pass(j, from, w, fn, p, err)) == 0)
        return ral_writer_finish(w, err);
    ral_writer_abort(w);
    return rc;
}

/*
 * Two passes, for what only the end of the input tells: mean and deviation of
 * all rewards, or whether one shard came alone and must stay one.
 */
static int filter_twice(struct job *j, struct ral_reader *r, int fd,
                        const char *name, struct ral_progress *p,
                        struct ral_err *err)
{
    static const char spooled[] = "the temporary file";
    record_fn *second = ral_advantage_waits(&j->how) ? compare_record : copy;
    struct ral_reader *again = NULL;
    const int spool = ral_spool_open(err);
    int rc;

    if (spool < 0)
        return spool;
    ral_reader_allow_part(r);
    rc = filter(j, r, true, r, score_record, spool, spooled, p, err);
    if (rc == 0 && lseek(spool, 0, SEEK_SET) < 0)
        rc = ral_err_errno(err, "%s", spooled);
    if (rc == 0)
        rc = ral_reader_open(&again, spool, spooled, SIZE_MAX, err);
    if (rc == 0) {
        ral_reader_allow_part(again);
        rc = filter(j, r, ral_reader_is_part(r), again, second, fd, name, NULL,
                    err);
    }
    ral_reader_close(again);
    close(spool);
    return rc;
}

/* ---- the job ---- */

static int name_rules(struct ral_rule_set *rules, const struct ral_weights *w,
                      struct ral_err *err)
{
    int rc = 0;

    if (!w->n)
        ral_rule_set_default(rules);
    for (size_t i = 0; i < w->n && rc == 0; i++)
        rc = ral_rule_set_add(rules, w->name[i], w->value[i], err);
    return rc;
}

int ral_reward_check(const struct ral_reward_job *job, struct ral_err *err)
{
    struct ral_rule_set rules = {0};
    int rc = name_rules(&rules, &job->weights, err);

    if (rc == 0)
        rc = ral_rule_set_open(&rules, &job->rules, NULL, err);
    ral_rule_set_close(&rules);
    return rc;
}

static int metrics(const struct job *j, uint64_t step, struct ral_err *err)
{
    const struct tally *t = &j->tally;
    struct ral_metrics m;
    json_t *obj, *each;
    int rc = ral_metrics_open(&m, j->set->log, err);

    if (rc < 0)
        return rc;
    obj = json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:o, s:o}", "program",
                    "ral-reward", "step", (json_int_t)step, "records",
                    (json_int_t)t->records, "failed", (json_int_t)t->failed.n,
                    "flat", (json_int_t)t->flat, "samples",
                    (json_int_t)t->reward.n, "reward",
                    ral_json_number(t->reward.n ? t->reward.mean : NAN),
                    "reward_std", ral_json_number(ral_spread_std(&t->reward)));
    each = json_object();
    for (size_t i = 0; i < j->rules.n; i++)
        json_object_set_new(each, j->rules.rule[i]->name,
                            ral_json_number(t->rule[i] / (double)t->reward.n));
    json_object_set_new(obj, "rewards", each);
    rc = ral_metrics_put(&m, obj, err);
    ral_metrics_close(&m);
    return rc;
}

static void summary(const struct job *j)
{
    const struct tally *t = &j->tally;

    ral_info(j->log,
             "%zu records, %zu samples, mean reward %.4f; %zu of equal "
             "rewards, %zu failed",
             t->records, t->reward.n, t->reward.mean, t->flat, t->failed.n);
    for (size_t i = 0; i < j->rules.n && t->reward.n; i++)
        ral_debug(j->log, "%s %.4f, weight %g", j->rules.rule[i]->name,
                  t->rule[i] / (double)t->reward.n, j->rules.weight[i]);
}

static int check_failed(const struct job *j, struct ral_err *err)
{
    const struct tally *t = &j->tally;
    const int rc = ral_failures_check(&t->failed, t->records,
                                      j->set->max_failed, err);

    if (rc == 0 && t->failed.n)
        ral_warn(j->log, "%zu of %zu records failed; the first: %s",
                 t->failed.n, t->records, t->failed.first);
    return rc;
}

static int reward_stream(struct job *j, struct ral_reader *r, struct ral_out *out,
               struct ral_err *err)
{
    const char *name = j->set->out ? j->set->out : "stdout";
    const bool twice =
        ral_advantage_waits(&j->how) || j->info->shards > 1;
    struct ral_progress p;
    int rc;

    ral_progress_begin(&p, j->log, "scoring", "records", 0);
    if (twice)
        rc = filter_twice(j, r, out->fd, name, &p, err);
    else
        rc = filter(j, r, false, r, score_record, out->fd, name, &p, err);
    ral_progress_end(&p);
    return rc;
}

static int score_stream(struct job *j, struct ral_reader *r,
                        struct ral_err *err)
{
    struct ral_out out;
    int rc;

    j->info = ral_reader_info(r);
    if ((rc = ral_rule_set_open(&j->rules, &j->set->rules, j->info, err)) < 0 ||
        (rc = ral_out_open(&out, j->set->out, err)) < 0)
        return rc;
    if ((rc = reward_stream(j, r, &out, err)) == 0)
        return ral_out_finish(&out, err);
    ral_out_abort(&out);
    return rc;
}

int ral_reward_run(const struct ral_reward_job *job, char *const *path,
                   size_t n, const struct ral_log *log, struct ral_err *err)
{
    struct job j = {.set = job,
                    .log = log,
                    .how = {(enum ral_baseline)job->baseline,
                            (enum ral_scale)job->scale}};
    struct ral_reader *r = NULL;
    uint64_t step = 0;
    int rc;

    if ((rc = name_rules(&j.rules, &job->weights, err)) < 0)
        return rc;
    if ((rc = ral_reader_open_files(&r, path, n, job->max_record, err)) == 0) {
        step = ral_reader_info(r)->step;
        rc = score_stream(&j, r, err);
    }
    ral_rule_set_close(&j.rules);
    ral_reader_close(r);
    ral_arena_release(&j.a);
    ral_buf_release(&j.out);
    if (rc < 0 || (rc = metrics(&j, step, err)) < 0)
        return rc;
    summary(&j);
    return check_failed(&j, err);
}
