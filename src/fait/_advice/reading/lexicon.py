"""The words of the advisor, grouped by what they mean: one name stands for many ways to say the same.

An entry is a word or a phrase, in any form; entries are separated by commas. The patterns in `evidence.py` refer to a
group as `@name`.
"""

from collections.abc import Mapping
from typing import Final

__all__ = ["GROUPS"]

GROUPS: Final[Mapping[str, str]] = {
    # People and institutions
    "authority": "regulator, supervisor, supervisory, auditor, examiner, tribunal, court, judge, inspector, inspection, "
    "inspectorate, ombudsman, central bank, tax office, ministry, prosecutor, arbitration, arbitrator, revenue service, "
    "authority, compliance, fda, hmrc, irs, bafin, notary, law, statute, statutory, legislation, regulation, legally, "
    "lawyer, litigation, lawsuit, parliament, court of audit, finra, cfr, gxp, gmp, sox, mifid, supervision, "
    "watchdog, certification body, defence, defense, attorney, coroner, registrar, magistrate, customs, fiscal court, "
    "inland revenue, trading standards, monitor, assessor, insurer's expert, surveyor, expert witness",
    "partner": "partner, supplier, warehouse, bank, insurer, underwriter, carrier, courier, customs, handler, laboratory, "
    "lab, pharmacy, logistics, shipping, billing, accounting, bookkeeping, erp, crm, sap, finance, treasury, gateway, "
    "adviser, advisor, hotel, clinic, hospital, agency, dispatch, ministry, registry, provider, payroll, subscriber, "
    "consumer, downstream, other system, other service, other team, third party, external system, their side, "
    "fulfillment, inventory service, other side, recipient, receiver, printer, card issuing, marketing, tax office, "
    "school, library, landlord, tenant, insurance, service, services, system, systems, department, customer, pharmacist, "
    "wholesaler, distributor, retailer, franchise, branch, vendor, police, court, authority, grid operator, "
    "clearing house, exchange, marketplace, broker, publisher, hauler, haulier, freight forwarder, factory, plant, "
    "counterparty, network operator, payment provider, psp, acquirer, mail house, locksmith, garage, nurse, ward, "
    "depot, kitchen, headquarters, hq, municipality, data warehouse",
    # Verbs
    "change": "change, alter, edit, modify, overwrite, erase, delete, remove, tamper, rewrite, touch, amend, adjust, "
    "falsify, manipulate, doctor, rub out, cross out, tippex, update, wipe, purge, destroy, replace, redact, fiddle, "
    "revise, lose, scrub, unwrite, backspace, meddle",
    "tell": "tell, inform, notify, report, announce, alert, signal, know, learn, hear, aware, informed, receive, "
    "reach, arrive, get, deliver, turn up, show up, find out, publish, send, forward, pass on, transmit, hand over, "
    "propagate, communicate, sync, synchronize, push, emit, broadcast, dispatch, go out, trigger, kick off, post, relay, "
    "route, book, ship, told, be known",
    "want": "want, need, require, demand, expect, ask, request, insist, must, have to, has to, necessary, obliged, shall, "
    "should, be able, like to, oblige, duty, mandatory, require us, wish, essential, compulsory, bound to",
    "derive": "derive, compute, calculate, infer, recompute, recalculate, reconstruct, rebuild, recreate, re-create, "
    "replay, re-run, rerun, sum, total, add up, deduce, re-derive, re-compute, figure, refold, fold, work out, restore, "
    "retrace, trace, unwind, roll back, re-figure, reproduce, walk through, explain, re-play, step through",
    "decide": "decide, approve, grant, refuse, reject, waive, accept, deny, authorize, sign off, overrule, assign, "
    "release, block, suspend, cancel, withdraw, appeal, escalate, reinstate, negotiate, confirm",
    # Negation inside of patterns
    "never": "never, not, no, nobody, no one, noone, nothing, none, can't, cannot, mustn't, must not, may not, can not, "
    "neither, nor, without, isn't, aren't, don't, doesn't, won't, wouldn't, couldn't, shouldn't, impossible, forbidden, "
    "prohibited, not allowed, unable, without ever, no authorized, wasn't, weren't, didn't, hasn't, haven't, at no time, "
    "not a single, no single, nor may, ruled out, unacceptable, illegal, unthinkable, out of the question",
    "mustnot": "must not, mustn't, may not, can't, cannot, can not, must never, may never, never, never ever, not allowed, "
    "not acceptable, unacceptable, cannot afford, can't afford, not afford, dare not, no, without, shouldn't ever, "
    "should never, not permitted, inadmissible, intolerable, isn't an option, not an option, fatal, disaster, "
    "catastrophe, forbidden, impossible",
    # Things
    "entry": "entry, line, posting, booking, record, slip, row, transaction, movement, debit, credit, transfer, "
    "handover, event, fact, deposit, withdrawal, correction, journal, page, log, note, statement, amendment, value, "
    "figure, act, deed, item, reading, result, submission, vote, ballot, trade, fill, position, history, document",
    "figure": "balance, amount, total, figure, stock, state, position, holding, value, whereabouts, status, entitlement, "
    "quantity, score, standing, ownership, ownership, holdings, exposure, level, sum, result, quota, credit, location, "
    "picture, situation, content, contents, points, tally, share, shares, premium, coverage, dose, price, rate, "
    "register, table, account, owner, owns, ranking, table, inventory, file, case, entry, policy, limit",
    "ledger": "ledger, bookkeeping, double entry, double-entry, escrow, wallet, account balance, journal entry, "
    "chart of accounts, general ledger, subledger, custody, chain of custody, running account, current account",
    "message": "message, event, notification, notice, instruction, webhook, order, command, signal, announcement, call, "
    "update, confirmation, mail, email, e-mail, file, report, job, publish, request, letter, slip, record, booking, "
    "ping, handoff, send, word, news",
    "row": "row, database, table, save, saved, store, stored, commit, committed, record, recorded, booked, paid, charged, "
    "transaction, db, insert, persisted, persist, status, write, written, marked, confirmed, approved, booking, order, "
    "flip, set",
    "incident": "crash, reboot, restart, die, kill, deploy, outage, time out, timeout, network blip, power cut, fail, "
    "failure, down, offline, unreachable, exception, hiccup, swallow, drop, vanish, evaporate, get lost, bug, glitch, "
    "pod, oom, broker is down, blip",
    "past": "past, before, earlier, previous, previously, history, was, yesterday, old, older, ago, former, formerly, "
    "last year, once, original, back then, changed, used to, beforehand, historical, until now, versions, version, "
    "trail, log, audit trail",
    "moment": "date, day, point in time, moment, evening, morning, instant, time, quarter, year end, month end, year-end, "
    "month-end, close of business, key date, cut-off, cutoff, month, year, second, point, visit, friday, monday, tuesday, "
    "january, february, march, april, may, june, july, august, september, october, november, december, night, week, "
    "session, incident, accident, hearing, admission",
    "mistake": "mistake, error, wrong, slip, correct, correction, incorrect, erroneous, fix, typo, misposting, blunder, "
    "mis-keyed, mistaken, bad entry, reversal, chargeback, refund, undo",
    "contra": "reversing, reversal, reverse, counter, contra, compensating, compensate, offset, offsetting, storno, "
    "neutralize, neutralized, countered, counterbalance, correcting, cancelling, balancing, adjusting, opposite, "
    "adjustment",
    "another": "another, further, second, new, fresh, additional, separate, opposite, more, contrary, extra",
    # Work
    "job": "resize, resizing, thumbnail, transcode, transcoding, render, rendering, convert, conversion, pdf, export, "
    "import, geocode, transcribe, ocr, scan, virus scan, newsletter, reminder, push notification, welcome mail, "
    "welcome email, confirmation mail, email, e-mail, mail, sms, text message, texts, slack, chat message, avatar, "
    "picture, photo, video, image, generate, generation, crawl, scrape, index, watermark, compress, upload, report, "
    "backup, sync, recommendation, label, print, greeting, postcard, invitation, ping, badge, digest, translation, "
    "translate, normalize, blur, crunch, clean up, cleanup, purge, warm, caches, cache, zip, transcription, "
    "notification, batch, archive, summary, summarize, embedding, classify, tagging, subtitle, spell check, voice",
    "background": "background, behind the scenes, worker, workers, queue, task queue, job, jobs, celery, rq, sidekiq, "
    "asynchronously, asynchronous, async, later, offload, out of band, deferred, defer, elsewhere, rabbitmq, sqs, "
    "fire and forget, fire-and-forget, cron, off the request, not inline, out of the request, beanstalk, redis, "
    "in parallel, afterwards, off the main, overnight, fire them off, background task, in its own time, own time, "
    "at leisure, pool, dramatiq, huey, procrastinate, scheduler, decouple, spool, hand off, helpers, kick off, resque, "
    "meanwhile, on the side, when there is time, whenever it has time",
    "slow": "slow, take, takes, block, hang, freeze, wait, time out, timeout, minutes, seconds, long, sluggish, spinner, "
    "spinning, stall, tie up, hold up, stuck, laggy, lag, ages, forever, heavy, gpu, cpu, expensive, clog, keep waiting, "
    "stare, hourglass, choke, rate limit, limited",
    "request": "request, page, browser, user, web worker, thread, form, sign-up, signup, registration, checkout, "
    "response, ui, screen, tab, endpoint, click, button, main loop, http, view, visitor, customer, caller, cashier, "
    "checkout, app, handler, submit, sign up, upload",
    "atonce": "at once, immediately, right away, instantly, straight away, instant, promptly, without waiting, "
    "without delay, fast, quickly, snappy, directly",
    "harmless": "no drama, no tragedy, not a tragedy, isn't a tragedy, harmless, no harm, no problem, acceptable, "
    "tolerable, not matter, doesn't matter, don't matter, no big deal, shrug, can live with, "
    "could live with, not critical, uncritical, nobody cares, no one cares, nobody notices, "
    "no one notices, nobody dies, so be it, not the end of the world, isn't the end of the world, "
    "can be skipped, no worry, not a problem, isn't a problem, we don't mind, no one minds, "
    "nobody minds, nobody will miss, bearable, no disaster, not a disaster, live with, won't hurt, "
    "doesn't hurt, not serious, no loss, cope, not dramatic, tough luck, bad luck, too bad, so what, "
    "pity, no fuss, all right, alright, who cares, don't care, doesn't care, nobody is hurt, "
    "no consequence, without consequence, forgivable, no one complains, nobody complains, no one dies, "
    "no money in it, c'est la vie, shame but, be it, nobody will notice, no one will notice, survive, "
    "nothing bad happens, not vital, isn't vital, no skin off, unimportant, is fine, are fine, be fine, "
    "is ok, is okay, be ok, be okay, are ok, are okay, would be fine, fine with us, fine with me, "
    "fine by us, that's fine, that's ok, perfectly fine",
    "again": "again, retry, once more, try again, click again, resend, repeat, rerun, re-run, redo, next run, "
    "next night, tomorrow, re-request, press again, second time, twice, another time, next sweep, nightly sweep",
    "miss": "lose, miss, missing, forget, vanish, drop, fall by the wayside, disappear, skip, swallow, go missing, fail, "
    "get lost, not arrive, never arrives, doesn't arrive, evaporate, slip through, overlook, lost, gap, go astray, "
    "go under, leak, hole, fall through the cracks, slip through the cracks, one fewer, bounce, fails",
    # Reading
    "look": "look, search, view, browse, read, visit, query, see, find, filter, display, page, dashboard, report, overview, "
    "screen, lists, list, portal, visitor, reader, searching, lookup, question, chart, statistics, listing, app feed, "
    "home page, front, wallboard, analysis, analytics, map, feed, timeline, browser",
    "store_words": "table, source, place, database, service, system, relation, collection, schema, tables, bits, entity",
    "join": "join, stitch, gather, assemble, collect, combine, piece together, glue, merge, compose, composed, pull together, "
    "aggregate, cobble, scrape together, cross-reference, spread over, scattered over, spread across, scattered across, "
    "patch together, union, pull from, draws on, assembled",
    "prepared": "flat, pre-chewed, prechewed, pre-computed, precomputed, denormalized, denormalize, ready-made, "
    "ready-assembled, materialized, materialized view, pre-joined, prejoined, search index, own copy, "
    "separate copy, read copy, pre-aggregated, preaggregated, ready to show, pre-digested, pre-cooked, "
    "copied into, duplicated into, read side, query side, tailor-made, tailored, search document, "
    "reporting database, pre-calculated, shaped for, made for reading, read replica, reporting copy, "
    "separate overview, second database, lookup table, summary table, query model, "
    "optimized for reading, separate table, pre-built, prebuilt, precooked, ready baked, pre-baked, "
    "separate model, view model, =prepared",
    "strain": "kill, on its knees, choke, melt, grind, brings down, bring down, slow, slower, lock, time out, timeout, "
    "saturate, overload, hurt, suffer, at 100, crawl, pain, hog, starve, struggle, buckle, fall over, collapse, groan, "
    "swamp, hammer, bog down, dies, drown, slows, throttle, sluggish, contention, deadlock, stall, freeze, peak, sweat, "
    "limp, croak, pant, wheeze, bring to its knees, wait, exhaust, expensive",
    "late": "late, later, delay, delayed, behind, stale, old, lag, lagging, out of date, eventually, "
    "not up to the second, trail, catch up, outdated, not current, minute old, seconds old",
    # Measuring
    "signal": "sensor, telemetry, measurement, gauge, gps, ping, clickstream, click, impression, packet, log line, "
    "vibration, temperature, accelerometer, swipe, beacon, heartbeat, pressure, voltage, probe, signal, "
    "light barrier, lidar, radar, camera frame, frame, humidity, page view, pageview, scroll, mouse, "
    "market data, price tick, wearable, thermostat, smart meter, plc, opc, mqtt, can bus, netflow, "
    "syslog, crash report, player position, torque, rpm, eeg, ecg, pulse, glucose, seismic, tracker, "
    "iot, datapoint, data point, values, bids, car data, cdr, call record, card swipe, motion, "
    "wind speed, scooter, drone, ad request, speedometer, thermometer, =reading, =readings, "
    "gps position, =samples, =metrics, turbines, channels, meters, devices, taps, positions",
    "crunch": "rolling, sliding, moving average, tumbling, windowed, aggregate, downsample, anomaly, detect, "
    "detection, heatmap, fft, tally, live dashboard, stragglers, out of order, late arriving, rewind, "
    "median, percentile, sessionize, sessionization, correlate, threshold, alarm, volatility, trending, "
    "spike, predict, foresee, smooth, forecast, per minute, machine learning, model training, "
    "training of models, deduplicate, robots, bots, top ten, leaderboard, drift, deviate, unusual, "
    "fishy, suspicious, jam, =bars, =moving, time window, =windows, per window, =windowed",
    "lossy": "gaps are fine, gap is fine, gap is drawn, lost values, losing some, few lost, lost readings, drop some, "
    "sampling, missed reading, missing readings, holes, best effort, thrown away after, kept for, discard after, "
    "discarded after, owe nobody a record, keeps it longer, raw",
    # Plainness
    "tool_small": "excel, spreadsheet, index card, google sheet, sheet of paper, notebook, paper list, access database, "
    "filing cabinet, whiteboard, pinboard, post-it, ring binder, airtable, card index, clipboard, word document, wall chart",
    "people": "people, user, clerk, volunteer, employee, member, editor, teacher, doctor, secretary, colleague, person, "
    "staff, librarian, student, admin, operator, of us, developer, engineer, vet, receptionist, owner, household, family",
    "prototype": "prototype, mvp, proof of concept, poc, throw away, throwaway, thrown away, hackathon, "
    "weekend project, pilot study, validate the idea, try out, side project, pre-seed, minimum viable, "
    "school project, course project, pitch deck, click dummy, find out whether, test the market, "
    "for a demo, just a demo, only a demo, click-dummy, smoke test, fake door",
    "document": "article, page, post, recipe, wiki, cms, blog, brochure, document, template, content, text, menu, photo, story",
    "reference": "directory, address book, phone list, list of, master data, lookup, code list, country, postal code, "
    "price list, catalog, configuration, settings, feature flag, tariff, timetable, register of, dictionary, opening hours, "
    "reference data, classification, taxonomy, glossary",
    # Statements that are no evidence
    "wish": "maybe one day, one day, some day, someday, nice to have, would be nice, would be cool, in the far future, "
    "if we ever, if we grow, if we get bigger, once we are big, later perhaps, perhaps later, maybe later, later maybe, "
    "dream, dream of, vision, in a few years, in the long run, not now, not yet, at some point, in the distant future, "
    "phase two, phase 2, phase three, phase 3, who knows, might one day, could one day, down the road, eventually we, "
    "world domination, when we are rich, could imagine, in a later release, some time in the future, roadmap, next year, "
    "in the future, for the pitch, not for this release, down the line, wishlist, wish list, if ever, in version 2, "
    "one fine day, sooner or later, when pigs fly, long-term, in theory, might later, may later, ever get, thinking about maybe, "
    "would love to, eventually maybe, ideally some day, if it takes off, if things go well, post-mvp, after the launch maybe",
    "speaker": "consultant, consultancy, nephew, colleague, friend, cousin, brother, brother-in-law, sister, vendor, agency, "
    "blog, conference, talk, keynote, influencer, intern, trainee, investor, salesman, sales rep, dba, "
    "architect, recruiter, book, podcast, tweet, youtube, guru, professor, son, daughter, neighbour, "
    "co-founder, cofounder, new guy, new hire, new developer, developer, cto, freelancer, integrator, advisor, adviser, mentor, "
    "chatgpt, partners, maker, salesperson, tech lead, bloke, guy, roommate, boyfriend, husband, "
    "wife, contractor, evangelist, claimed, enterprise architect, hacker news, reddit, stack overflow, bidder, offer, whitepaper, "
    "white paper, webinar, brochure, tender, meetup, candidate, advice, uncle, boss",
    "says": "say, says, said, claim, claims, insist, insists, suggest, suggests, recommend, recommends, reckon, reckons, "
    "swear, swears, keep saying, told us, tells us, told me, tells me, think, thinks, believe, believes, argue, argues, "
    "pitch, pitches, propose, proposes, proposed, preach, praise, push for, pushes for, pushing, advise, advises, urge, convinced, rave, mention, "
    "mentioned, assure, list, warn, sell, promise, wrote, drew, draw, drawn, read",
    "rumor": "read about, reading about, you'd think, one would think, one might think, you might think, a guy who, some guy, horror story, horror stories, =slides, went to a conference, came back with, tech radar, parking that, told us about, according to our, according to my, according to a, according to him, according to her, according to them, according to some, i read, i heard, we heard, we read, heard that, people say, they say, rumor, rumour, rumor has it, "
    "everybody says, everyone says, supposedly, allegedly, apparently one, is said to, are said to, it is said, best practice says, "
    "keynote, second talk, first talk, proposal to, hearsay, buzz, buzzword, hype, the internet says, from what i hear, trending on",
    "outsider": "competitor, competition, our rival, rivals, netflix, uber, amazon, google, linkedin, spotify, twitter, facebook, airbnb, zalando, "
    "walmart, parent company, sister company, mother company, former employer, previous employer, last employer, my last job, last job, "
    "friend's company, the exchange we, the erp we deliver, big players, the big ones, other companies, "
    "another company, another team, other teams, the other team, a dutch bank, big banks, other startups, their system, their side is, "
    "their platform, other department, other departments, upstream system, whose system, "
    "the grocer's, market leader, our customers run, other vendors, the platform we integrate, larger company, "
    "our client's, the incumbent, the incumbents, headquarters has, holding has, the bank we",
    "former": "used to, old system, former system, previous system, predecessor, given up, gave up, abandoned, scrapped, ripped out, "
    "moved away from, got rid of, back in, years ago we, in the old days, previously we, last attempt, earlier attempt, "
    "first version had, was removed, no longer, decommissioned, we tried, once tried, had tried, failed attempt, costly attempt, threw out, "
    "switched off, retired system, migrated off, migrated away, went back from, phased out, until last year, in a past life",
    "excluded": "software does, accountant does, vendor does, federation does, bank does, already done by, someone else does, done by another, do this on its own, does this on its own, on its own system, goes to the vendor, go to the vendor, handled by another, are handled elsewhere, lives elsewhere, out of scope, not in scope, not part of, stays in, stay in, stays with, isn't our job, not our job, separate system, "
    "separate project, done elsewhere, handled elsewhere, computed elsewhere, not our business, not our problem, "
    "other people's problem, another project, somebody else's, someone else's, is with datev, we neither, sealed device, "
    "isn't covered, not covered here, beyond the scope, not our concern, not ours, done by another, owned by another, "
    "outside of this project, not our department, not subject of, belongs to another",
    "contrast": "but, however, yet, though, for now, today, currently, until then, now, instead, still, not us, whereas, while, at present, so far, "
    "right now, meanwhile, for the coming, at the moment, in reality, in truth, in fact, actually, what we, all we",
    "refusal": "not, no, nobody, no one, noone, none, neither, nor, without, isn't, aren't, don't, doesn't, won't, wouldn't, didn't, "
    "wasn't, weren't, hasn't, haven't, never, nothing, hardly, needn't, far from, rather than, instead of",
    "no_refusal": "must not, may not, can not, should not, cannot, not only, not just, no matter, no doubt, no later than, not merely, no longer, no less than, not least, no idea, "
    "not sure, not know, don't know how, don't know who, don't know what, don't know when, don't know why, "
    "no way of, no way to, nothing else than, nothing but, no means, why not, not to mention, not long, not until, not once but",
    "needed": "need, want, require, ask, wanted, matter, exist, plan, care, concern, necessary, important, relevant, interest, "
    "desire, apply, case, topic, issue, use, interested, called for, on the table, bother, foreseen",
    "yes_no": "do, does, should, is, are, would, could, can, must, isn't, shall, will, did, doesn't, don't, wouldn't, shouldn't, has, have, am, "
    "any reason, or should, or is, or do, and should, and is, so should, so is, so do",
    "plural": "modules, subjects, parts, areas, programs, departments, things, components, corners, domains, sections, divisions, topics, "
    "pieces, teams, building blocks, products, services, concerns, worlds, fields, applications, businesses, halves, thirds, units",
    "uniform": "single style, one style, one architecture, one approach, one pattern, same pattern, same approach, uniform, uniformity, "
    "one size, one design, all of it, for everything, per module, per part, for each of them, each of these, per program, "
    "one way for all, in one go, single approach, single architecture, same architecture, same style, one tool for, one technology, "
    "single pattern, one recipe, which pattern for which, which for which, across the board, for all of them, for all of these, "
    "each of the, equally important, equal parts, outweighs, equal weight",
    "carrier": "of our trouble, of our problems, of the trouble, heart of, the core is, main thing, main problem, most important, "
    "matters most, what matters is, real problem, only problem, sticking point, biggest pain, biggest problem, biggest headache, "
    "the crux, central part, bulk of, lion's share, everything revolves around, all revolves around, the rest is, the rest are, "
    "stands or falls, the hard part, main part, the pain is, core business, bread and butter, the money is made, kingpin",
    # Weak signs, for `cues.py`
    "day": "date, day, evening, morning, night, moment, instant, close of business, month end, year end, month-end, year-end, key date, "
    "cut-off date, cutoff date, point in time, afternoon, shift, session, accident, admission, visit, hearing",
    "month": "january, february, march, april, june, july, august, september, october, november, december, last year, last spring, last autumn",
    "every": "each, every, all, whole, entire",
    "rederive": "reconstruct, recompute, re-compute, recalculate, re-calculate, replay, re-play, reproduce, rebuild, recreate, re-create, derive, "
    "infer, deduce, retrace, unwind, re-derive, demonstrate, re-run, rederive",
    "alter": "alter, edit, overwrite, erase, delete, rewrite, tamper, amend, falsify, manipulate, change, modify, touch, rub out, undo, "
    "disappear, correct, remove, adjust",
    "authority2": "regulator, supervisor, supervisory, auditor, examiner, tribunal, court, judge, inspector, inspectorate, ombudsman, central bank, "
    "tax office, ministry, prosecutor, arbitration, authority, fda, hmrc, irs, bafin, notary, statute, statutory, customs office, commission, "
    "investigator, coroner, watchdog, regulation, regulated, regulatory, compliance, court of audit, audit, audits, licensing, police, parliament, "
    "finra, inspection, examination",
    "wasgone": "was lost, got lost, were lost, went missing, lost in, is missing, are missing, is gone, was gone, were gone, got swallowed, disappeared, vanished, evaporated, "
    "fell through, was dropped, were dropped, was forgotten, were forgotten, was skipped, goes missing, gets lost, get lost",
    "lossverb": "fail, fails, die, dies, lose, losing, lost, miss, misses, missing, crash, drop, break, vanish, get lost",
    "background2": "background, behind the scenes, worker, task queue, job queue, jobs, celery, rq, sidekiq, asynchronously, asynchronous, async, offload, deferred, "
    "defer, fire and forget, cron, dramatiq, huey, beanstalk, sqs, afterwards, helper process, helpers, thread pool, in parallel, queue",
    "lookup": "look up, lookup, search, searches, view, views, read, reads, query, queries, report, reports, dashboard, dashboards, page views, page loads, visitor, visitors, visits, hits, "
    "readers, searchers, statistics, standings, overview, listings, browsing, screen, screens, analytics, display, board",
    "prepared2": "flat, pre-chewed, precomputed, pre-computed, denormalized, denormalize, ready-made, "
    "ready-assembled, materialized, materialized view, read model, read models, pre-joined, "
    "search index, own copy, separate copy, read copy, pre-aggregated, copied into, read side, "
    "query side, search document, reporting database, second database, summary table, separate overview, "
    "pre-calculated, prepared per, reporting copy, snapshot table, ready price, ready list, ready page, "
    "prepared list, prepared lists, own read, view table, lookup table, flattened, separate read, "
    "tailored",
    "signal2": "sensor, telemetry, gauge, gps, clickstream, impression, log line, vibration, temperature, "
    "accelerometer, swipe, beacon, heartbeat, probe, signal, light barrier, lidar, radar, camera, "
    "humidity, page view, scroll, market data, wearable, thermostat, smart meter, plc, mqtt, netflow, "
    "syslog, torque, ecg, eeg, glucose, seismic, tracker, iot, data point, bid request, telematics, "
    "wind speed, measurement, logger, voltage, audio frame, click, packet, client event, game event, "
    "ping, =reading, =readings, gps position, =positions, channels, =metrics, =turbines, turbine, "
    "player position",
    "device2": "sensor, device, meter, vehicle, scooter, tracker, thermostat, machine, turbine, truck, trailer, car, bike, drone, box, camera, probe, phone, "
    "logger, station, gauge, channel, motor, bus, tram, ship, cow, collar, lamp, player, watch, signal",
    "partner2": "warehouse, bank, insurer, carrier, courier, customs, laboratory, lab, pharmacy, logistics, shipping, billing, accounting, bookkeeping, erp, crm, "
    "finance, treasury, gateway, tax office, waste company, electoral roll, hotel, canteen, bus operator, dispatch, ministry, registry, provider, payroll, "
    "inventory, card issuing, access control, printer, wholesaler, retailer, branch, vendor, police, grid operator, clearing house, exchange, marketplace, "
    "broker, landlord, library, hospital, locksmith, kitchen, depot, headquarters, data warehouse, supplier, insurance, fulfillment, credit bureau, school, "
    "it department, embassy, airline, airport, port, hauler, underwriter, reinsurer, court, fire brigade, ambulance, doctor, nurse, ward, municipality",
    "buzz": "synergy, synergistic, ecosystem, empower, leverage, leveraging, disrupt, disruptive, disruption, next-gen, next-generation, cutting-edge, bleeding-edge, seamless, "
    "seamlessly, world-class, ai-powered, ai-driven, cloud-native, revolutionary, revolutionize, paradigm, 360-degree, 360, holistic, game-changing, game changer, "
    "best-in-class, best of breed, innovative, innovation, future-proof, future-ready, unlock the, journey, transform, transformation, transformative, state-of-the-art, "
    "mission-critical, enterprise-grade, turbocharge, supercharge, frictionless, hyper-personalized, hyperscale, data-driven, event-driven, insights, actionable, "
    "robust, agile, thought leader, at scale, infinitely scalable, scalable, digital twin, web3, blockchain, metaverse, omnichannel, end-to-end, value chain, stakeholders, "
    "delight, reimagine, reinvent, democratize, single source of truth, real-time, intelligence, intelligent, smart, platform, vision, mission, excellence, lean-in, "
    "unleash, accelerate, accelerating, streamline, one-stop, turnkey, full-stack, tomorrow's, experience, experiences, solution, solutions, customer-centric, ai, passion, leading",
    "pattern": "event sourcing, event sourced, event-sourced, event-sourcing, event-source, event sources everything, eventsourcing, event store, eventstore, cqrs, saga, sagas, blockchain, domain-driven, ddd, "
    "event-native, event native, event-storming, event storming, hexagonal, eventually consistent, eventual consistency, event-driven architecture, event backbone, read models, "
    "aggregates and, immutable log, immutable events, immutable facts, service mesh, serverless, microservices, smart contract, stored as events, changes as events, log of events",
    "unable": "unable, not able, can't say, can't tell, can't show, can't explain, can't prove, can't answer, can't reconstruct, cannot say, cannot tell, cannot show, "
    "cannot explain, cannot prove, couldn't say, couldn't tell, couldn't show, couldn't explain, couldn't prove, can not say, can not tell, could not say, could not tell, "
    "could not show, could not explain, could not prove, never could tell, nobody can say, nobody can tell, no one can say, no one can tell, nobody could say, nobody knows, "
    "no one could say, impossible to say, impossible to tell, impossible to show, fail to show, failed to show, don't know why, never know why, no way of knowing, no idea",
}
