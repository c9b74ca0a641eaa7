"""Weak signs: words that say little alone, but several different ones close together describe a situation.

Descriptions seldom use the words of the patterns in `evidence.py`. They say what happens: a container restarts after the
save, and patients stand in the pharmacy. A cue counts once in a few neighboring sentences, whatever the number of its words.
"""

from typing import Final

from fait._advice.reading.situation import Situation

__all__ = ["CUES"]


def _history(name: str, weight: float, patterns: str, cap: int = 1) -> Situation:
    facts = {"history_need": "temporal", "intent_matters": True, "events_natural": True, "lifecycle": "simple"}
    return Situation(name, facts, weight, patterns, cap=cap)


def _reliable(name: str, weight: float, patterns: str, cap: int = 1) -> Situation:
    facts = {"loss": "must_not_lose", "dual_write": True}
    return Situation(name, facts, weight, patterns, cap=cap, about_others=True)


def _job(name: str, weight: float, patterns: str, cap: int = 1) -> Situation:
    return Situation(name, {"loss": "tolerable"}, weight, patterns, cap=cap)


def _view(name: str, weight: float, patterns: str, cap: int = 1) -> Situation:
    return Situation(name, {"read_asymmetry": "high", "read_shapes": "several"}, weight, patterns, cap=cap)


def _stream(name: str, weight: float, patterns: str, cap: int = 1) -> Situation:
    facts = {"record_kind": "measurements", "throughput": "high", "stream_growth": "unbounded"}
    return Situation(name, facts, weight, patterns, cap=cap)


CUES: Final = (
    # History is the record
    _history(
        "a past moment is asked about",
        0.45,
        """
        as of|at|per @day|#|then|any|past|that|earlier|a; past|arbitrary|any|given|certain|chosen|random|particular|earlier|historic|specific @day|shift; any day's; at that|the time|moment|point; by|back then;
        we|they|he|she|it|one|you knew|believed|thought then|at|back|when|on; was|were|stood|looked|held|applied|owned|had|counted .. on|in|at @month|@day|#; @month .. was|were|had|held; in force; exact situation|state|picture; retroactive; retroactively; retrospective;
        retrospectively; backdated; backdate; take|takes|taking effect|effective last|earlier|from|before|retro; years|months|decades ago|back; point at|in .. @day; that|same evening|night|day|morning; which|what .. at what|which moment|time|date; name|names|naming .. date|day|evening;
        time machine; rewind; go back to; with|for a date|day|cut-off; as it|we|they unfolded|knew|stood|happened|believed|looked; someone knew; state|version .. of|on|at|from .. @month|@day|then|ago; when .. was left|asked|decided|signed|issued|filed|admitted
        """,
    ),
    _history(
        "a figure follows from what happened",
        0.4,
        """
        follow|follows|result|results|resulting|arise|arises|arose from|of|out; outcome|product|consequence of; sum|total|aggregate of|over @every|its|these|those|movements|@entry; derivable; reconstructible; @rederive; ripple through; ripples; nothing but|else_than|other_than; led|leads|leading there|to|up;
        how .. arose|came|comes|arises|happened|unfolded|got; movement|movements|additions|withdrawals & each|every|sum|behind|all; @ledger; net of; offset against; carry over|forward; accrue; accrual; accruals; entitlement|entitlements; add|adds up; make|makes|made up of; balances .. @never .. stored|edited|typed|set;
        account for every|each; tallies with|up; nothing more|other than; comes|come down to all|the; cumulative; from the beginning|start|outset|seed|birth|day
        """,
    ),
    _history(
        "entries are final",
        0.45,
        """
        @never .. @alter; @never .. disappear|vanish|withdrawn; final|permanent|irrevocable|irreversible|binding|unalterable|immutable|indelible; nothing|no @entry .. @alter; entries|records|postings are final|sacred|sealed|permanent; append|add only; add|added .. @never .. @alter; stays|stay|remain|remains forever|visible|legible|on|there|recorded;
        tamper; tampered; tampering; unaltered; unchanged since|after; once .. posted|signed|tabled|entered|submitted|booked|@alter .. forbidden|illegal|prohibited|banned|impossible; overwritten|erased|deleted & never|nothing|no|not|forbidden; @never .. in place; wax ; chained; notarized; countersigned; two signatures; four eyes; four-eyes
        """,
    ),
    _history(
        "corrections are entries of their own",
        0.5,
        """
        counter|correcting|corrective|compensating|reversing|reversal|adjusting|contra|opposite|balancing|cancelling movement|movements|transaction|transactions|entry|entries|booking|bookings|posting|postings|one|count|line|lines|counter-booking|record|records|note|event|events; counter-booking; counter-entry; countermovement; reversals; reversal; chargebacks; chargeback; reinstated; reinstatement;
        storno; annulled; annul; annulment; rescinded; retraction|retractions; correction|corrections & only|by|as|each|own|separate|with|retroactive; @mistake .. followed|corrected|countered|fixed|undone|offset by|with|through; retroactive correction|corrections|salary|adjustment; re-rated; re-calc; recalc; clawback; write-back; credit note; amended return; supersede; supersedes; superseded
        """,
    ),
    _history(
        "an authority asks",
        0.35,
        "@authority2; by law; under law|oath; gaming commission; un body; official; officially; in court; examiners; commission|board demands|wants|requires|asks; law requires; legally; certified|certification",
    ),
    _history(
        "reasons are asked for",
        0.4,
        "why; reasons; the|a|its|stated|which|what|and|with|whose reason; grounds|ground; justify; justified; justification; on which|what information|basis|grounds|evidence; who .. and why; who did|ordered|proposed|decided|approved|signed|authorized|gave; rationale; motive; circumstances; actor; signed|witnessed by; with initials|signature|signatures",
    ),
    _history(
        "each step counts",
        0.3,
        """
        each|every|all|complete|whole|entire|full step|steps|movement|movements|addition|withdrawal|entry|change|transaction|amendment|vote|bid|move|handover|transfer|dose|decision|correction|story|sequence|life|history|trail|chain; sequence of; story of|from|behind; has a story; unfold; unfolded; traceable; trace|traced|tracing; chain of; lineage; provenance; from .. to .. @never;
        collected|issued|received|created|born|planted|made .. tested|transfer|split|released|sold|retired|transfused|destroyed|merged; contributions; transfers in|out; issuance; endorsements; bids; hammer; deposits; withdrawals; trades; stakes; chips; markers; premiums; top-ups; payouts; disbursements; instalments; installments; redemptions; switching orders; motions; readmission
        """,
    ),
    _history(
        "facts are disputed",
        0.35,
        "sue|sues|sued|suing; appeal|appeals|appealed; dispute|disputes|disputed; challenge|challenges|challenged; contested|contests; farmers|customers|players|skippers|members|clients contest; quarrel|quarrels; fight|fights about|over; ombudsman; investigator|investigators|investigation; lawsuit; litigation; tribunal; question|questions any|each|every|the|a|may; complain|complaint|complaints & years|later|prove|show; arbitration; accuse|accusation; cheating|cheat; inquest; cross-examine",
    ),
    _history(
        "records are kept for years",
        0.2,
        "# years; decade|decades; forever; indefinitely; in perpetuity; for life; lifetime; permanently",
    ),
    _history(
        "the log contradicts the data",
        0.5,
        "log|logs|journal|audit|history|trail .. contradict|contradicted|contradicts|disagree|disagreed|differ|differed|diverged|beside|didn't match; different|two|conflicting stories; can't|couldn't|can|could|never .. tell|explain|say why|how; archaeology; forensic|forensics; no one knows|knew why|how",
    ),
    _history(
        "a figure is at stake",
        0.2,
        "balance|balances|stock|holdings|holding|rating|ratings|entitlement|position|cover|coverage|whereabouts|custody|figure|ownership|title|debt|liability|liabilities|shares|premium|points|score|duty|inventory|pot|pool|equity",
    ),
    # Messages that must leave
    _reliable(
        "something is saved",
        0.25,
        "save|saved|saves; insert|inserted|inserts; stored|storing; commit|commits|committed; row|rows; db|database|mysql|postgres|postgresql|oracle|sqlite|mariadb|mongo; write to our|tables; mark|marked|marks as; approved|approval|approves; =placed; captured; is|are|gets booked|registered|sold|signed|paid|closed|confirmed|verified|issued|cancelled|withdrawn|finalized|shipped; our|central table|tables|register|database|system; same function; tables|table and; transaction|transactions",
    ),
    _reliable(
        "another party is told",
        0.3,
        """
        publish|publishes|published|emit|emits|emitted; kafka|rabbitmq|broker|sqs|nats|pubsub|service bus|message bus|activemq|eventbridge|queue; call|calls|called|calling their|the|his|its|a .. api|endpoint|service|gateway; notify|notifies|notified; inform|informed|informs; tell|tells|told|telling; get|gets|got to know; need|needs|has|have|must to|know; must|has|have|needs|should learn|hear|know|receive|reach|arrive|get|see;
        message|messages|notification|notifications|instruction|instructions|notice|notices; webhook; downstream; third party; partner|partners; other|another|second system|systems|service|services|side|department; provision|provisioned|provisioning; receive|receives|received; forward|forwarded|forwards; hand over|off; handed over|on|off; pass|passed|passes on|to; other|their side|end; @partner2 .. need|needs|require|requires|want|wants|get|gets; @partner2 .. and .. @partner2; inbox; at the gate; reach|reaches|reached; arrive|arrives|arrived
        """,
    ),
    _reliable(
        "the way there fails",
        0.4,
        """
        crash|crashes|crashed; restart|restarted|restarts|reboot; timed|times out; timeout|timeouts|time-out; die|dies|died; hiccup|hiccups; @wasgone in|during|after a|the deploy|restart|crash; often|sometimes|frequently|is|are|was|were|when|if|while off|down|offline|unreachable|asleep|unavailable|flaky; no second attempt|try; killed; power|network outage|cut|failure|blip|glitch|error; in|after|during a|the deploy|deployment; between these|the|both|them two|steps|calls|commit; swallowed|swallows; flaky; unreliable;
        sleeps at; goes|go down; is|was unplugged; gives up; error|errors|exception out|ignored|swallowed|halfway; halfway; half way; oom-killed; oom|killed; raises|raise; second line|call|step|request|part; process is gone|dead; shut|shuts|shutdown down|in|during; replaced|rescheduled|evicted; pod|pods|container|containers|node; at the wrong|bad moment|time; outage|outages; connection|line|link|network lost|drops|dropped|breaks|down|bad
        """,
    ),
    _reliable(
        "one side does not know",
        0.45,
        """
        never|not|didn't|hadn't|wasn't|weren't made|make it|there; @never arrive|arrived|receive|received|reach|reached|made|told|informed|notified|learn|heard|get|got|knew|sent|know; there|was|were =nothing; has|had|have|got|with nothing; but no|not|nothing; without|no task|message|ticket|card|cover|mail|shipment|event|access|order|row; @wasgone; stay|stays|stayed|remain|remains|remained locked|unaware|active|open|dark|ignorant|blocked|uninformed;
        ghost|ghosts|phantom|phantoms; never heard|unlocked|informed|called|got|executed|delivered; stored|saved|approved|paid|booked but|and never|no|nothing; did the first; first and; not delivered; wasn't|weren't|isn't delivered|informed|told|sent|unlocked; have|had|has no order|entry|card|record|ticket|key|access; need|want it to happen; no refund|order|mail|shipment|ticket|parcel|delivery; the other direction; with|still active accounts|access; happen|happened|happens|occur again; missed|misses|missing|skipped|forgotten|overlooked|lost; never .. at|in|to; =stood|stand|waiting|waited outside|before|there|vain|front; not know|aware|informed|told; unaware; ignorant; in the dark; slipped|slips through; % of .. never
        """,
    ),
    _reliable(
        "nothing may be missed",
        0.35,
        """
        always; no excuses|exceptions; none|no_one|not_one|nobody may|must|can|should be skipped|missed|forgotten|lost|left; each|every .. ends|end|arrive|arrives|reach|reaches|get|must|has|needs; must|has|have|need|needs .. reach|arrive|receive|get|know|learn|hear|told|informed; make|be sure|certain; ensure|ensures|ensured; guarantee|guaranteed|guarantees; exactly that|once|the; must|may|can|should not|never happen|occur again; without fail|exception|loss|gap; reliably|reliable; if .. then .. always; no matter; come what;
        even|also if|when .. down|off|offline|closed|unreachable|crash; under all circumstances; in any case|event; for certain|sure; definitely; at all costs; late but; may|can take a|an|some|its|one day|hour|time|while; two|both agree|match|correspond|consistent|equal; can't|cannot|mustn't .. lost|lose|missed|miss|forget|happen; is not|isn't|no an option; have to agree|match
        """,
    ),
    _reliable(
        "gaps are repaired by hand",
        0.4,
        "by hand; manually; batch|script|job|comparison|report|clerk|support|somebody|someone compares|compare|finds|find|repairs|repair|reconciles|checks|patches; reconcile|reconciled|reconciliation|reconciles; differences|discrepancies|mismatches|deviations; every|each night|morning & compare|compares|check|checks|repair|fix|sides; nightly compare|comparison|sync|check|diff|job|script; poor soul; resend|resent|re-sent|re-send; find|finds|found them|out; phones|phone around",
    ),
    _reliable(
        "a message contradicts the data",
        0.5,
        "rolled back; rollback; roll back; undone; message|event|mail|notice|call is|was|went|had out|sent|gone|left; before .. commit; after .. commit|save|insert|committed|saved & publish|emit|call|send|post|tell|queue; two|both agree|match|diverge|disagree|consistent|sides; row .. no|without .. task|message; task|message|event without row|order|record; db and|vs kafka|broker|queue|rabbitmq; two|both systems|sides|steps|stores|places; out of sync; in sync; same transaction; atomic|atomically|atomicity; dual-write; dual write",
    ),
    _reliable(
        "a loss costs dearly",
        0.25,
        "fined|penalty|penalties|lawsuit; a|the|high|heavy fine; stood|stand outside|in the|before; angry|furious|upset customers|patients|parents|guests|people; billed|charged|paid .. months|twice|nothing|otherwise|wrongly; auditor|audit found; security incident; locked out; costs us|money; complaint|complaints|complained; embarrassing; dangerous|danger; patient|patients stood|waited|without; refuse|refuses|refused; lost|lose customers|money|contract|revenue; wrote a letter; breach|breached; scandal; headlines",
    ),
    # Work after the answer
    _job(
        "a chore is done",
        0.3,
        "mail|mails|mailing|email|e-mail|letters .. to .. subscribers|members|users|customers|guests; notify|alert|remind|inform .. phones|phone|subscribers|fans|members|followers; by|per e-mail|mail|sms; web|small|several|other|different versions|sizes|formats|renditions; keyword|keywords|feature extraction|extr; ocr; extraction; checked|checks|check for|by .. api|service|model|cloud; cloud api; xlsx; raw files; swearing; spelling; transcript; captions; enhancement; @job; thank-you mail; courtesy; preview|previews; validation|validate; recalculate; cleaning; enrichment|enrich; llm; ai model; gpu; inference; rescan; bot; screenshots|screenshot; upload|uploads|uploaded|attachment|attachments|audio; feed import; web hook; statistics; reindex",
    ),
    _job(
        "the chore takes time",
        0.3,
        "nginx; # # timeout; gateway|request|proxy timeout|timeouts; timeout|timeouts|times|timed|ends at|out|in; 504; 502; limit of # ; limited to; at a time; # per|a|/ minute|min|hour; kills|freezes|locks|jams|clogs the site|server|page|box; simultaneously; for loop; big|large|huge files|file|uploads|images|videos; # mb|gb|megabytes|gigabytes; takes|take|took|costs|lasts|last|needs .. # s|second|seconds|minute|minutes|hour|hours|min; some|several|a few|couple|to minutes|seconds|hours; slow; sluggish; slowly; runs|run # s|seconds|minutes; ages; half a minute; rate limit|limits|limited; throttle|throttles|throttled|throttling; long-running; time-consuming; expensive; heavy; takes long|forever|ages; hangs; freezes",
    ),
    _job(
        "the user should not wait",
        0.35,
        """
        in the|a request; return|respond|answer|reply|continue|confirm|react @atonce; @atonce .. return|answer|reply|response; @never .. wait|waiting|blocked|block|hang|slow|delay|stare; makes .. checkout|page|site|form|app|everything sluggish|slow|unresponsive; wait for it|this|that|them; block|blocks|blocked|blocking; spinner; hourglass; page|browser|form|request|screen|ui|checkout|app hangs|freezes|stalls|blocks|waits|sluggish|slow|times; web worker; off the|our main|web|request; inline; synchronous|synchronously; move on; carry on;
        nothing|blank|white page|screen|for; =turning|=spinning|=staring|=watching|stares|stare|sees|see .. wheel|page|screen|spinner|browser; wheel turning|spins|spinning; seconds|minutes of nothing|silence|waiting|white|blank; uploader|user|visitor|guest|customer|sender|submitter gets|sees|receives .. =thanks|ok|answer|reply|straight|immediately|instantly|at; straight away; right away; at once; when|by .. page|form|browser .. comes|is|gets back|returned|ready; say|says thanks|ok|yes and; waits|wait|waiting for half|an|a|minutes|hour|# ; presses|press .. and waits|wait; blocks for # minutes|seconds; taking|take the next; stay|stays|have|remain on the page|site; let go of the; keeps .. waiting; shouldn't be blocked; user|editor|agent|customer|visitor|cashier shouldn't|needn't|mustn't|doesn't|don't|can't|cannot .. wait; without making
        """,
    ),
    _job(
        "it runs in the background",
        0.45,
        "@background2; into|in|onto|via|from a|some|the queue; when .. idle; overnight; at night; decoupled; fire-and-forget; later on; parallel calls|workers|jobs|work; periodic|periodically|nightly|regular rescan|sweep|run|job|cleanup; next sweep|run; cron; wire it; picked up by|later; takes care of later; hand .. to .. worker|helper|process|thread|machine; another|second|separate|other|different machine|process|box|server|vm; do the rest; big|other|spare|second|idle machine|box|server|computer next|in|at|over; next door; rabbit; rabbitmq|redis|celery overkill; line|queue of waiting; waiting line|exports|jobs|list; two|few|three at a time; is .. overkill; one after another|the;  rest afterwards|later; separate consumers|consumer|worker|process; to-dos; decoupled; off|out_of the web|request|main|box; concurrency; may|can|could take its time; in|at its|their own|leisure pace|time",
    ),
    _job(
        "a loss is forgiven",
        0.5,
        """
        no|not|isn't|ain't|aint|hardly|never|neither catastrophe|tragedy|drama|disaster|problem|prob|issue|worry|crime|biggie|emergency|harm|damage|fuss|trouble|pity|shame|life-or-death|showstopper|priority; nobody|no_one|noone|none .. sue|cares|care|notice|notices|mind|minds|die|dies|cry|cries|complain|complains|bother|bothered|hurt|shout|remembers|asks;
        can|could|may|will|would|simply|just upload|upld|click|press|ask|request|send|start|run|try|do|order|submit|trigger .. again|anew|once_more|twice|another; =anew; started|restarted again|over|anew; again by our|hand; stay|stays|remain|kept|still on|in|there disk|storage|inbox|the; god knows; doesn't|don't|didn't turn|show up; losing|loosing|loose .. prob|problem|ok|fine|matter|issue; unprocessed|unchecked|unsent|untranslated|unresized|unrendered .. is|isn't|stays|are; original|originals are|stay|remain kept|on|there|safe; we|they|users|people can|could|may|will live|cope|wait|retry|repeat; should it|one|some|that fail|fails|be|get; forget about;
        @harmless; whatever; only|just|merely a|nice courtesy|gesture|convenience|extra|service; regenerate|regenerated|recreate|recreated|rebuild|repeat|repeated|redone|reproduced any|from|again|at|always|anytime|by; @lossverb .. again|anew|tomorrow|later|twice|whatever|first; start|starts|run|runs|try|tries|do|does|click|clicks|press|presses|send|sends it|them|once anew|again|more; nobody|no_one|noone .. notice|notices|miss|misses|mind|minds|care|cares|complain|complains; first visitor|user|reader|access does|builds|triggers;
        anyway on|in|the; lost is lost; =seriously nothing; if|when|should .. =nothing|no happens|drama|harm|problem; by eye|hand|phone anyway|instead|then; opens|sees|looks|see|look|check|checks .. anyway; so much the better; needn't be exact|perfect|complete|reliable; see|sees|read|reads|in|on .. site|portal|web|list|plan|chat .. too|also|anyway|fine; tweet|mail|post|message|alert|one less|fewer; mailed .. never|some; at any time|moment; next run|time catches|picks; a bonus; missing .. fine|ok|initials; broken|down for weeks|days .. noticed|nobody|only; =only|just noticed|nice|for|a =because|as|for|to|bonus; nice|handy for|to|but; not needed|required|wanted immediately|urgently|at|right; don't|doesn't|do|didn't even need|know|notice; give|gives up quietly|silently; disposable; nicety|niceties; good enough; import|imports|re-upload|reupload|resend|resubmit|redo|repeat .. anyway|again|monthly|later|it; shouldn't|didn't ever come; sure|fine|well then|so|enough; a|is|only|just courtesy|convenience|bonus|gimmick|nicety|service|extra; so what; no harm|drama|tragedy|damage|problem|issue; can be lost|skipped|dropped|repeated; losing .. is|doesn't|isn't|would|a; picked up by|later|next; if .. never|don't|doesn't .. go|goes|work|works|happen|happens|arrive|arrives; twice .. fine|harmless|ok|matter|no; idempotent; nothing critical|serious|bad; best effort; when|if they|it work|works
        """,
    ),
    # Reads of their own
    _view(
        "there are many readers",
        0.3,
        """
        calls|reads|views|loads|requests|hits %huge; %huge .. a|per day|week|month|minute|hour & look|page|read|search|view|call|calls|visit|request|open; couples|travelers|tenants|buyers|patients|readers|commuters|drivers|brokers|journalists|parents|fans|players|visitors filter|browse|search|compare|look|read|open|watch; everyone|everybody|all|most else|others .. only reads|read|looks|look; only|just|mostly reads|read|reading|looking|looked;
        %huge @lookup; millions|thousands|hundreds|lots|masses of|more|times @lookup; looked|viewed|=read|searched|queried|browsed|opened|refreshed .. at|by|million|often|constantly|all|thousand|every|times; refresh|refreshes|refreshed|poll|polls|polling; visitors|applicants|readers|searchers|students|customers|fans|public|everybody|everyone .. look|search|read|browse|fire|query|view|want|see|open; read|reads|searches|lookups|queries|views far|per|dominate|outnumber|hundred|thousand|million|dwarf|dies|from|mostly; from reads; # reads|searches|views|queries|k; opening|open it|the|app; look|looks|looking .. all day|the|time; # per second & search|searches|lookups|queries; % of what|all|our|the; browsing makes|is|dominates; all open|opening; # times per|a second; %huge times|requests|look; of all requests; # % of; ask|asks|asked # times; everyone|everybody|else looks|wants|asks; thousands|millions|%huge .. ask|asks|want|wants|opening|look|looking; edited|changed|updated rarely|seldom|twice|once|yearly; rarely|seldom changed|edited|updated|changes;
        browsed by; public search|portal|site|website; read mostly; all the time; at peak; few writes|edits|updates|changes; traffic
        """,
    ),
    _view(
        "data is joined from many tables",
        0.4,
        "touches|hits|spans|needs|uses|joins|reads # tables|joins|queries|services|sources; # queries|joins|unions; unions over|of; union; assemble|assembled|assembles|assembling it|on|from|for|each; on each|every call|request|load|open|view; from .. and .. and .. tables|systems|sources; one json|document|object|row|record per|for; with orders|invoices .. and; many|lots of joins; calculated|computed|derived|generated|built|answered from|out|together .. tables|rows|raw; raw tables; each page|screen|view|answer collects|needs|gathers|pulls|asks; monster sql|query|queries; from # places|tables|systems; far|much|way too expensive|slow|heavy; # joins|tables|sources|indexes|systems|services|places|views; join|joins|joined|joining; many|several|dozen|multiple|all|normalized|numerous|different|various|our|separate tables|sources|joins|indexes|systems|silos; merges|merge|combines|combine|composed|composes|stitched|stitches|gathered|gathers|assembled|assembles|pulls|collected|puts|put & from|out|and|together|data; on the fly; normalized; out of # tables; nested|complex|monster|huge|long|200-line query|queries|select|sql; aggregated from; drawn from; from a dozen|half|handful",
    ),
    _view(
        "reading slows the system down",
        0.35,
        "it's|is|goes|system|site|db|server|everything dead|down|stuck|frozen|unusable|crawling|overloaded; bring|brings|brought .. to a standstill|halt|stop|knees|crawl; standstill; each|every opening|query|view|report|refresh|search blocks|locks|slows|stops; blocks|block|stops|stop|slows|disturbs|hinders|hampers the|those|people|our|their|clerks|editors people|who|entering|enter|editing|editors|clerks|agents|writing|work; grinds to; at|in|during peak|peaks|rush; dead; because of these|the|all reports|dashboards|queries|indexes|reads|searches; @lookup .. @strain; @strain .. @lookup; @strain .. from|under|because reads|load|queries|searches; kills|kill us|it|db|database|the; it|that|page|which melts|takes|chokes|dies; page|screen|view|it takes # s|seconds|minutes; exports|readers|reports|queries|searches hold|holds|lock|locks|block|blocks; can't|couldn't|cannot save|enter|work|write; locks|lock .. out|handlers|clerks|tables; saving|entering|writing|booking|editing|inserting|storing|recording .. takes|slow|slower|seconds|suffers|slows; times|time out; db|database|tables|server|system|postgres|mysql .. dies|slow|slows|suffers|down|sweats|knees|locked|chokes|groans|melts|busy|limit|overloaded; computing|query|querying|rendering|calculating .. takes # s|seconds|minutes; indexes we|added|for|slow; on its knees; brings down",
    ),
    _view(
        "readers want different shapes",
        0.45,
        """
        want|wants|need|needs|like|likes|see|require|requires it|them|the|all|another|a|each differently|different|otherwise; each|every|all .. own|different|another|other view|cut|list|angle|shape|structure|way|picture|screen|sheet|perspective|presentation|layout|form|slice; completely|totally|entirely|wholly|quite different structure|shape|form|view; by|per .. by|per .. by|per; facet|facets|faceted; different|various|several|multiple|many views|cuts|shapes|=lists|screens|audiences|readers|dashboards|perspectives|roles|angles; another|yet|one|new|more dashboard|cut|report|screen|view|list|angle; from all sides|angles|directions; look|looks|looked at .. from; by .. by .. by; by|filter|narrow .. capacity|distance|price|date|region|age|branch|style|type|budget|size|colour|category .. and|or|by; each|every|everyone in its|their|his|her own way|view|format|manner|style; monitors|subscriptions|journalists|website .. and; home screen; red|green; nothing to do with; little to do with; shape|structure|form that|which has|is; comparison grids|grid|table|tables; layout|layouts of; grids|calculators|widgets|feeds; another cut of; each|every|all need|needs|want|wants|have their|its|own|his; own composition|version|copy|view|picture|document|format|dump; little|nothing|not_much in common with; same data|tables|facts .. show|shows|appear|used|serve|produced; as .. as .. as .. as; wants .. by .. and; document|object|page with everything|all|it; # formats; one flat|single document|page|list; cockpit|graphics|feeds|transparency|tv; by|filter by .. and|,; wall|bed|phone|team|manager's|doctor's display|=boards|=lists|screens|views .. and; =standings|rankings|ranking|statistics|popularity|head-to-heads;
        dashboards; =boards; reports|report and|for|by|from; overview|overviews; search portal|page|engine|index; one screen; control tower; cockpit; timeline; calendar .. map; on the phone .. as|on|by
        """,
    ),
    _view(
        "readers may lag behind",
        0.4,
        "slightly|somewhat|little|bit outdated|stale|old|behind|late; outdated|stale|old hits|data|results|numbers|lists|values .. fine|ok|bother|matter|acceptable|tolerable; updated|refreshed shortly|soon|seconds|minutes|a after|later|afterwards; shortly after; not|needn't|doesn't .. up_to_the_second|up-to-date|live|current|fresh; %window|few|half|bit|little|slight|couple|minute .. late|later|delay|behind|old|lag|stale|after .. fine|ok|okay|acceptable|alright|be|is|all|would|could; fine|ok|okay|acceptable|alright|do|could|tolerate|tolerable|bearable .. %window|minute|bit|seconds|few .. old|late|later|behind|delay|after|stale; searchable|visible|shown|appear|appears|appearing|there .. after|within|in|seconds|minute|later .. minute|seconds|later|minutes; # seconds|minutes|minute|second old|late|later|behind; half|a minute behind|later|late|old; slightly stale|old|behind|outdated",
    ),
    _view(
        "a prepared copy is wanted",
        0.55,
        "ready|prepared to serve|show|read|display|deliver|use; reading|read|query|display side|part|path|end separated|separate|apart|own; want|like|need .. reading side|separated; @prepared2; separate|split|decouple|divide .. what we|they|tables|read|reads|reading|writes|write|writing; optimized|optimised|made|built|structured|shaped for lookup|reading|search|searching|reads|display|viewing|queries; ready|finished|prepared|precomputed|flattened|denormalized|materialized price|copy|sheet|list|table|view|page|rows|document|documents|answer; keep .. ready; search index; elasticsearch|elastic|opensearch|solr|algolia|typesense|meilisearch; read replica|model|side|store|database; refreshed|updated|rebuilt when something|changes|whenever; pre-built|prebuilt|cached list|view|page|pages|copy; tables we|they write|read from|versus|and",
    ),
    _view(
        "entering has rules of its own",
        0.25,
        "complicated|strict|complex|elaborate|own rules|masks|workflow|checks; pricing rules; rules .. prerequisites|credits|deadlines|discounts; entering|editing|write|writing|capture|input|cataloguing|filing|data-entry side|is|works|things|part fine|good|okay|works|stays|alone|as; fine for entering; leave .. alone; editors|agents|clerks|secretaries|employers|librarians|sellers|staff edit|enter|post|change|maintain|record|update|catalog; changed|edited|entered|posted|saved|maintained by|# by|times|a|few|per|twice",
    ),
    # Measurements
    _stream(
        "devices or users emit signals",
        0.4,
        "@signal2; sensors|sensor; thermostat|thermostats; logger|loggers; telemetry; vehicles|scooters|bikes|drones|trucks|cars .. report|reports|send|sends|position|emit; client events; log lines|line; clickstream; clicks|click|impressions|scrolls; frames|frame; channels|channel; readings|=readings; meters|metering; measurements|measured values; measuring points|stations; radio; probes; gps; audio frames|calls; packets",
    ),
    _stream(
        "signals come at a high rate",
        0.5,
        "%fast; every|each # s|second|seconds|ms|milliseconds; a|one value|reading|measurement|sample|point|position each|every|per # second|seconds|s; a|one|per|each|every second|s & @signal2|sensor|sensors|readings|values|loggers|channels; hz; khz; readings|values|samples|points every|each second|minute|few; several|many|dozens|hundreds|thousands times|of times|readings|values|samples|messages a|per|each second|minute; %huge events|messages|clicks|readings|values|pings|records|points|requests|lines|impressions a|per|each|every day|hour|minute|second; events a day|second|minute; continuous|continuously|non-stop|nonstop stream|flow|signal|data|sending",
    ),
    _stream(
        "figures cover a window of time",
        0.45,
        "last|past|previous|=sliding|=rolling|=moving|latest|=tumbling|preceding %window|minute|minutes|hour|hours|second|seconds|few|#|half|quarter|window|windows; per|by|each minute|second|hour|lap; average|averages|mean|median|percentile|percentiles per|over|of|by|for; near|in real time|real-time; over the|a last|past|sliding|rolling|window; windows of; within # s|seconds|ms|milliseconds; =sliding|=rolling|=moving windows|window|average; trending; right now; sessions|sessionization|funnel|funnels; density|heat map|maps|heatmap; live map|chart|charts|dashboard|graph|curve|curves|figures|picture; spikes|spike|bursts|burst|peaks|outliers",
    ),
    _stream(
        "alarms depend on signals",
        0.25,
        "alert|alerts|alarm|alarms|warn|warning|warnings|detect|detects|detecting|detection|anomaly|anomalies|predict|prediction|foresee|geofence|threshold|thresholds|monitor|monitoring|burst|bursts|ddos|fraud|leak|leaks",
    ),
    _stream(
        "single values do not matter",
        0.3,
        "losing|lose|lost|missing|dropped|drop a|some|few|single|values|points|readings|samples|is|are .. irrelevant|fine|ok|okay|matter|acceptable|drawn|problem|harmless|not; late events|data|readings|arriving|arrivals; come|comes|arrive|arrives|arriving days|hours|late|later|out; out-of-order; out of order; raw data|values|signals; dropped after; old .. dropped|deleted|discarded|thrown; nothing .. is money; no money; gaps are; retention; keep|kept|for # days|weeks|hours",
    ),
    _stream(
        "signals are processed again",
        0.25,
        "re-process|reprocess|reprocessing|re-processing; replay; rewind; data scientists|science|scientist; train|training models|of|model|data; machine learning; ml; backtest; backtesting; try|tried on .. traffic|data; lap comparison; features; model|models formula",
    ),
    _stream(
        "there are many devices",
        0.25,
        "%huge; # @device2; thousands|hundreds|millions|ten thousands|tens of @device2|sensors|devices|users|cars|meters; parallel calls; fleet; km of; nationwide|countrywide",
    ),
    _history(
        "words of histories",
        0.13,
        """
        ledger; auditor; regulator; court; tribunal; dispute; appeal; lawsuit; claim;
        verdict; ruling; evidence; proof; prove; provable; demonstrate; reproduce; reproducible; reconstruct;
        derivation; derive; recompute; recalculate; history; historical; past; retroactive; retroactively;
        backdated; retrospective; correction; reversal; counter; immutable; unaltered; unalterable; irrevocable;
        amendment; amend; supersede; balance; booking; bookings; posting; entry; entries; debit; credit; accrual;
        entitlement; vesting; grants; exercise; penalty; penalties; protest; reinstatement; classification;
        settlement; premium; endorsement; policy; coverage; reserve; pedigree; provenance; lineage; custody;
        chain; sequence; step; steps; pedigrees; reasons; motive; motives; grounds; why; knew;
        known; then; statement; decades; forever; inspector; investigators; commission; ombudsman; traceable;
        trace; origin; ancestry; divided; merged; moved; split; transfer; holding; holdings; shares; cap_table;
        litigation; due_diligence; rewritten; explainable; explain; unfold; timeline; effective; in_force;
        due_process; examiner; witness; signature; signed; sealed; tamper; compliance; statutory; moments;
        stages; decision; decisions; wrong_entry; subsequent; annul; revoke; revocation; forensic; archive;
        bitemporal; contestable; liability; accountable; accountability; accounting; contributions
        """,
        4,
    ),
    _reliable(
        "words of messages",
        0.13,
        """
        inform; informed; notify; notified; told; tell; learn; delivered; undelivered; deliver; delivery; arrive;
        arrived; receive; received; endpoint; api; webhook; partner; system; systems; service; broker; topic;
        consumer; consumers; producer; kafka; rabbitmq; queue; publish; published; emit; event; message;
        messages; commit; committed; rollback; transaction; oracle; postgres; mysql; database; db; crash;
        crashed; killed; restart; restarted; reboot; timeout; timed; raises; exception; failed; fails; offline;
        switched_off; down; unreachable; lost; missed; missing; forgotten; skipped; never; ghost; ghosts;
        phantom; unlock; unlocked; locked; refund; release; stored; saved; inserted; row; booked; paid; captured;
        cancellation; cancelled; declared; detained; guarantee; certainty; reliably; reliable; exactly; surely;
        must; always; without_fail; left_out; duplicates; twice; idempotent; retry; reconcile; mismatch;
        consistent; inconsistent; agree; diverge; sync; in_between; afterwards; by_hand; manually; support;
        complaint; angry; penalty; supplier; warehouse; gateway; customs; insurer; pharmacy; authority;
        enforcement; bank; provider
        """,
        4,
    ),
    _job(
        "words of jobs",
        0.14,
        """
        upload; uploaded; uploads; re-upload; convert; conversion; pdf; thumbnail; resize; render; image; photo;
        picture; video; audio; mail; mails; email; newsletter; sms; whatsapp; slack; push; ping; notification;
        confirmation; welcome; reminder; invitation; import; export; csv; report; translate; transcribe; ocr;
        scan; classifier; classify; score; model; gpu; cpu; external; mailchimp; api; slow; seconds; minutes;
        hours; hang; hangs; block; blocks; blocking; white_page; stare; stares; spinner; wait; waits; waiting;
        request; process; queue; celery; redis; job; jobs; task; tasks; background; decoupled;
        decouple; async; later; retry; retries; thrice; give_up; quietly; concurrency; parallel; throttle;
        nightly; overnight; idle; rerun; redo; recompute; disposable; regenerated; regenerate; nicety; courtesy;
        best_effort; harmless; fine; anyway; whenever; sometime; takes_a_while; take_its_time; preview; index;
        reindex; cache; warm; crawl; generate; sending; web_box; offload; preprocess; batch;
        good_enough; slips_through; never_come
        """,
        4,
    ),
    _view(
        "words of readers",
        0.14,
        """
        search; searches; searching; query; queries; report; reports; dashboard; dashboards; cockpit; overview;
        portal; screen; screens; view; views; list; lists; page; pages; app; statistics; map; graphics; press;
        public; visitors; visitor; passengers; readers; users; eaters; customers; managers; management;
        everybody; millions; million; thousands; facets; filter; filters; ranking; popularity; sort; join; joins;
        joined; tables; normalized; normalised; schema; aggregates; aggregate; aggregated; composition; compose;
        composed; document; denormalized; flat; prepared; precomputed; read; reads; reading; write; writes; slow;
        seconds; locks; lock; melts; melt; dies; load; peak; delay; behind; later; refresh; live; minute_ago;
        seldom; rarely; edit; editors; planners; scorers; entered; rules; constraints; validation; strict;
        each_need; own; different; differently; several; various; cut; shape; form; structure; store;
        everything_in_it; in_common; replica; cache; index; indexes; elastic; pagination; autocomplete; full-
        text; lookups; look-ups; catalogue; listings; availability; price_sheet; home_page; feed; leaderboard
        """,
        4,
    ),
    _stream(
        "words of measurements",
        0.15,
        """
        sensor; sensors; telemetry; gps; accelerometer; collar; collars; camera; cameras; gate; gates; meters;
        =readings; measurements; =samples; signals; channels; parameters; heartbeat; heartbeats; traffic; clicks;
        clickstream; impressions; packets; frames; logs; ping; pings; per_second; times_a_second; msgs; hz; khz;
        throughput; velocity; sliding; rolling; window; windows; buckets; last_minutes; per_minute; average;
        median; percentile; anomaly; anomalies; detection; detect; deviation; predict; prediction; forecast;
        spikes; spike; alarm; alarms; alert; threshold; real-time; realtime; real_time; live; rewind; replay;
        retrain; train; reprocess; gaps; gap; tolerated; drops; out_of_order; raw; retention; devices; fleet;
        viewers; concurrent; vehicles; turbines; machines; heatmap; density; trending; spc; charts; vibration;
        temperature; wear; fft; geofence; late; stragglers; dedupe; tally; count; counts; counters
        """,
        4,
    ),
)
