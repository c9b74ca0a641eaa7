"""What descriptions say, as data: situations, the patterns that show them, and the facts that follow from them.

A pattern is a sequence of elements in one sentence, with up to two words between them, or up to eight where it says
`..`. An element is a word in any form, alternatives `a|b`, a group of the lexicon `@name`, a number `#`, or a quantity:
`%fast` a high rate, `%window` a span of seconds to hours, `%huge` a number of a million or more, `%few` a small number.
A pattern `a & b` needs both parts in one sentence, in any order. Patterns are separated by semicolons.

Patterns describe meaning, not buzzwords: "event sourcing" or "Kafka" in a description is a wish, and no evidence.
"""

from typing import Final

from fait._advice.reading.situation import Situation

__all__ = ["SITUATIONS"]


_NO_HISTORY: Final = {"history_need": "none"}

SITUATIONS: Final = (
    # The past
    Situation(
        "questions about a past state",
        {"history_need": "temporal", "events_natural": True},
        1.0,
        """
        as|like of|at|on|per @moment|#|then|any|that|earlier|a; as we|they|he|she|it knew|know; as|like it|he|she|they
        looked|stood|was|saw|were .. @moment|#|ago|then; point in time; point-in-time; what|which|who|how|where ..
        held|was|were|stood|looked|knew|owned|owed|said|had|belonged|showed|believed|applied|saw|counted .. @moment|ago|then|#
        & @authority|ask|show|answer|prove|derive|balance|able|need|must|explain|dispute|know|want|tell;
        way|state|form .. saw|see|looked|was|stood .. @moment|ago|then|#; @figure .. @moment years|months ago|earlier|back|before;
        years|months|weeks|decades ago|back|earlier|past|old & @figure|derivation|derive|how & show|ask|expect|want|need|prove|answer|name|explain;
        any|given|certain|arbitrary|particular|past|earlier|that @day & @figure|look|show|reconstruct|derive|who|what & @authority|ask|want|answer|show|must|reconstruct|recompute|prove|tell;
        time travel; bitemporal; bi-temporal; valid time; backdate; back-dated; backdated; retroactive; retroactively;
        retro .. notes|changes|correction|adjustment|calculation; retrospectively; effective|valid|in force .. earlier|past|back|retro;
        effective date; with a @moment & @figure|want|line; as|when|like issued|printed|signed|sent on|the .. day|date;
        our statement|bill|invoice|quote|letter .. said|showed|stated|looked .. @moment|issued|then|time;
        at any|that|the|each|every date|moment|time|point|day & @derive; go|went back to any|each|every|a second|point|date|day|moment|state;
        wind|turn|roll back the clock|time; who knew|know what when; @figure .. on a|any|some|the .. day|date|evening|morning .. year|ago|past|back;
        state|version .. in force|effect .. then|time|date|when; at the time of|when
        & what|which & applied|valid|stood|looked|in force|known|knew & prove|show|answer|reconstruct|explain|dispute
        """,
        _NO_HISTORY,
    ),
    Situation(
        "the state is derived from entries",
        {"history_need": "temporal", "events_natural": True, "intent_matters": True},
        1.0,
        """
        @figure .. is|are|be|must|simply|just|only|always|can|result|follow .. @derive|result .. from|over|of|by|out @entry|sequence|history|all|those|them|these|it|every;
        @derive .. from|over|out of|by .. @entry|sequence|history|movements|first|beginning|origination|start|scratch|opening;
        whatever .. add|adds up; @figure .. @derive .. never typed|entered|stored|edited; derived never typed|stored|entered|set;
        nothing|none else|other|more .. than|but .. sequence|series|sum|chain|result|row|list|record|entries; @figure .. total|sum .. over|of all|every|each|the|its;
        sum|total of|over all|its|the|every @entry|lines|movements|postings; uninterrupted|unbroken|gapless|complete|seamless sequence|chain|row|series|record|history;
        from that|those|these|them alone|only; inferred|deduced|derived from .. alone|only;
        @ledger & @contra|immutable|regulat|audit|entry|balance|payment|reversal|correction|fee|posting;
        step after|by|for step & @derive|show|how|balance|prove; how we|it|they|you|one|that .. got|get|came|arrived|arrive there|here|to|at|about;
        show|explain|prove|justify how|why .. figure|balance|amount|number|total|price|decision|came|got|arrived|result; with|and its|the derivation;
        every|each line|entry|movement|posting|transaction behind|underneath|that|leading|led; replay of|from|the|a .. @figure|loan|account|origination|case|beginning|start|history;
        whole|entire|full|complete|each|its|every life|pedigree|biography|career|journey|story|lifecycle|lineage|provenance|ancestry|genealogy;
        cradle to grave; from .. birth|drop|purchase|seizure|planting|origination|issue|manufacture|harvest|creation .. to|until|on|till|through .. destruction|death|sale|disposal|payoff|today|scrapping|forge|plate|court|slaughter|end;
        chain of custody; undo .. week|day|hacker|everything|selectively|batch|run; re-run|rerun|replay|recompute|recalculate .. history|past|all|from .. beginning|fix|bug|correct|rule|origination|error;
        after|once we|it fix|fixed|found|correct & replay|recompute|recalculate|rerun|re-run; nothing|no more|other than the sequence|list|sum|series;
        made|consist|composed|made up solely|entirely|only|exclusively of .. @entry|entries|movements|events; the history|log|journal|entries|sequence|movements|events is|are|itself the truth|product|record|master|source|state|thing;
        history is the|our product|domain|business|point|asset|truth; column|field|balance .. has been|was|is|gets wrong .. times & why|tell|explain|never
        """,
        {"events_natural": False},
    ),
    Situation(
        "entries are never changed",
        {"history_need": "full_audit", "events_natural": True},
        1.0,
        """
        @entry|nothing|anything|one|it|that|which|lines|slip .. @never .. be|been|ever|anybody|can|to|gets|get .. @change; @never .. @change .. @entry|posted|one|recorded|line|it|submitted|signed;
        nobody|no_one|none .. can|may|could|authorized|allowed|able|is .. @change; append only; append-only; appendonly; immutable; immutably; unalterable; inalterable; unchangeable; unmodifiable;
        tamper proof; tamper-proof; tamper evident; tamper-evident; tamperproof; tamper resistant; tamper-resistant; indelible; indelibly; write once; write-once; worm storage; set in stone;
        erasing|deleting|changing|editing|deletion|overwriting|erasure|removal|alteration .. is|are|was forbidden|prohibited|impossible|illegal|banned|ruled|taboo|no; remain|remains|stay|stays|keep legible|recoverable|forever;
        remain|stay|kept on|in the =books|record; never .. touched|altered|edited|changed|deleted|overwritten|erased again; nothing is|may|can|must|ever .. deleted|erased|removed|lost|overwritten;
        no .. deletes|updates|edits|overwriting|erasing|deletion|erasure & @entry|record|history|allowed|line; every|each .. correction|amendment|change|adjustment .. own|new|separate|further|additional|visible|later @entry|line|record|reason|legible;
        what|anything is|was|has been written|recorded|entered|posted stays|remains|stands|is; cryptographic|hash chain|chained|hash-chained; sealed @entry|log|record
        """,
    ),
    Situation(
        "mistakes are corrected by further entries",
        {"history_need": "temporal", "events_natural": True, "intent_matters": True, "lifecycle": "rich"},
        1.0,
        """
        @contra @entry|posting|line|booking; @another @entry|line|posting & @mistake|@contra|never|forbid; @mistake .. gets|get|is|are|be .. @contra|@another;
        neutralized|countered|offset|reversed|balanced|compensated|undone|corrected|amended|cancelled|fixed by|with|through|via .. a|an|another|further|new|second|one .. @entry|line|booking|posting|record|event|one;
        correction|reversal|storno|adjustment|counter as .. a|an|separate|own|new|further .. @entry|line|record|booking; never|not|without .. edit|change|erase|delete|overwrite .. only|but|instead .. add|append|correct|reverse|counter|amend;
        reversals & fee|payment|balance|books|top-up|chargeback|premium|entry; storno
        """,
    ),
    Situation(
        "reasons are part of the record",
        {"intent_matters": True, "history_need": "full_audit", "domain_complexity": "medium"},
        1.0,
        """
        each|every|with|stated|recorded|its|documented|needs|need|and|plus|the|what|a .. reason|reasons|rationale|justification|grounds & change|amendment|decision|adjustment|correction|keep|stay|actor|who|record|override|refusal|why;
        actor & reason; who|whom .. why .. when|on|and; why .. was|were|did|had|has .. @decide|decided|changed|lowered|raised|refused|dropped|picked|chosen|price|given; who .. @decide .. why|when|which|basis|grounds;
        on what|which basis|grounds|information|authority|evidence; what was known|they knew|we knew & when|decided|decision; reasons .. matter|count|recorded|kept|legible|stated; reconstruct .. decision|why|who|reasoning;
        how|why the decision|verdict|diagnosis|ruling|price came|was|were about|made|reached|taken; intent|intention|motive behind|of .. change|edit|decision
        """,
    ),
    Situation(
        "an authority wants proof",
        {"history_need": "full_audit", "intent_matters": True},
        0.7,
        """
        @authority .. ask|want|demand|require|show|expect|request|see|prove|phone|check|derive|examine|inspect|may|can|come|reconstruct|recompute|verify|dispute|call|visit & @entry|history|every|each|date|how|step|prove|evidence|unaltered|derivation|record|complete|wording|who|why|any;
        prove|proof|provable|demonstrate|evidence|evidential|evidentiary|admissible|inadmissible & @authority|court|years|who|history|sequence|unaltered|log|happened|complete|every|what;
        dispute|quarrel|litigation|claim|challenge|contest|contested|appeal & years|later|after|step|derive|show|prove|history|what; by law|statute & keep|history|every|record|prove|retain|years; required by|under law|statute|regulation|act|part|article & change|amendment|history|record|every;
        on the books|stay .. for|4ever|forever|years; keep|keeps|retain|retained|kept|stays|stay .. each|every|all .. @entry|change|correction|amendment .. decade|years|ten|forever;
        full|complete|immutable|gapless|legal|statutory audit|history|trail; audit trail & immutable|law|compliance|regulator|legal|complete|full|court|statutory
        """,
        _NO_HISTORY,
        about_others=True,
    ),
    Situation(
        "an audit trail is required",
        {"history_need": "full_audit"},
        1.0,
        "audit trail; audit-trail; audit history; complete|full|entire|whole history|trail|record of; traceability; seamless documentation",
        _NO_HISTORY,
    ),
    Situation(
        "changes are listed",
        {"history_need": "change_log"},
        1.3,
        """
        who .. altered|changed|edited|did|touched|modified|entered|updated|moved|set .. when|what|it|which|last|value|and; audit log; change log; changelog; change history; history table; edit history; activity log; log of changes;
        list|grid|table|tab|log of|with .. changes|edits|versions|revisions|modifications; previous|earlier|old|older|last|former .. versions|revisions|values|drafts .. drop-down|list|page|viewable|kept|available|restored|restore|compare|view|see|look;
        version history; revision history; revisions; edited by; last changed|modified|edited by; from what to what; old and new value; who did what; who what when
        """,
        _NO_HISTORY,
    ),
    Situation(
        "the past is not asked for",
        _NO_HISTORY,
        1.6,
        """
        @never .. ask|care|want|need|interested|interest|look|remember|know|see|matter|concern|miss|require .. @past; how|what .. looked|was|used|stood|were .. before|earlier|previously|yesterday|last .. @never .. concern|interest|matter|need|ask|care|relevant;
        only .. current|latest|present|today|newest|now|last .. count|matters|matter|value|state|is|version|used|needed|interest|shown; current|latest|present|newest .. is|are all|what|enough|suffices|sufficient|everything|used|matters|counts|only;
        overwrite|overwritten|overwrites & old|simply|just|answers|value|them|row|previous|is|are|file|gets|we; old|previous|former|earlier|yesterday .. gone|wiped|discarded|deleted|forgotten|thrown|dropped|overwritten|vanish|away|erased|trash|removed;
        forgotten|forget & made|printed|done|then|after; scribbled over; no history; without history; no audit; no versions; no past; a @entry that was; is wiped|cleared|emptied; history isn't|not|no needed|required|interesting|wanted|relevant;
        past|history .. isn't|doesn't|don't|no|not .. matter|interest|concern|needed|relevant|wanted|kept|our; don't know the movements; only count
        """,
    ),
    Situation(
        "several decisions lead through a life cycle",
        {"lifecycle": "rich"},
        0.5,
        """
        workflow; state machine; stages; life cycle; lifecycle; approval & step|level|reject|second|release|rules|deadline; escalate; appeal; negotiate; counter-offer|counteroffer; renegotiate; reinstate; endorsement;
        amend & withdraw|approve|cancel|renew; submit & approve|reject|review; suspend & resume|reinstate|reactivate; originations|disbursement; write-off|writeoff; restructure; underwriting; claims & adjust|reopen|reserve|settle; chargeback; reassessment; corrections & partial|return|deliveries|re-calc|carry-over; part deliveries; backdated & contract|change
        """,
    ),
    Situation(
        "rules are complex",
        {"domain_complexity": "high"},
        1.0,
        """
        nasty|complex|complicated|intricate|hairy|tricky|elaborate|many|convoluted|strict|byzantine|own|dozens rules|rule|workflow|logic|conditions|constraints|regulations; rules .. change|differ|per|of its own|interact|exceptions;
        discounts by; compatibility of; interest|premium|tax calculation|rules|bug; collective agreement|agreements; actuarial
        """,
        {"domain_complexity": "low"},
    ),
    Situation(
        "rows are kept and edited",
        {"lifecycle": "crud"},
        0.8,
        """
        plain|normal|ordinary|simple|usual|boring tables|table|crud|form|forms|list|database|lists|page|pages; as plain as; add|create|enter .. edit|change .. delete|remove; @tool_small; replace .. @tool_small; a drawer; directory of; crud;
        that's|there's|is it|all|nothing .. further|more|else|it|all; fields|entities are|name; published or not; list|sheet|plan hangs|printed; a list is made; type|types|enter|fill .. in|into .. form|name|fields; cards|card with; name|motto .. members|photo|phone|address;
        look up|looks up|lookup .. number|phone|address|name; settings page|screen; configuration screen
        """,
    ),
    Situation(
        "the system is small",
        {"domain_complexity": "low", "read_shapes": "one"},
        0.8,
        """
        %few @people; %few @people and|or|plus; small|tiny|little team|office|club|shop|company|practice|school|association|internal|studio|museum; only|just me; one room|office|location|computer|shop; volunteers; honesty box; internal tool; on saturdays|mondays|tuesdays|sundays;
        hobby; parish; village; family; my aunt|uncle|wife|husband|nephew|brother|sister|mother|father; the club; index cards
        """,
    ),
    Situation(
        "nothing else is connected",
        {"consumers": "none"},
        1.0,
        """
        no|without|any .. integration|integrations|connection|interface|interfaces; no other|further software|system|program|application|service|tool|party .. attached|connected|involved|listens|needs|reads|uses|depend; stand-alone; standalone; nothing else attached|connected|listens; self-contained;
        not connected; single|one application|app|program|monolith only|alone; nobody|no_one else needs|listens|reads|consumes; no messages|events|notifications to|needed|wanted|anyone
        """,
    ),
    Situation(
        "it is a prototype",
        {"lifespan": "prototype"},
        1.0,
        "@prototype; throw everything|it|all away; for|in|within %few weeks|days .. show|demo|test|investors|pitch; find out if|whether",
        {"lifespan": "years"},
    ),
    Situation(
        "the records are documents",
        {"record_kind": "documents"},
        0.4,
        "@document .. edit|write|publish|version|template|read; wiki; cms; blog; recipe|article|runbook|page|brochure|brochures",
    ),
    Situation(
        "the records are reference data",
        {"record_kind": "reference"},
        0.4,
        "@reference",
    ),
    # Work after the answer
    Situation(
        "slow work moves out of the request",
        {"loss": "tolerable"},
        0.7,
        """
        @job & @slow & @request; @job .. in|into|to|by|from|through|via the|a|some .. @background; make it a job; job|task per|for each|every; answer|respond|reply|return @atonce; mustn't|not|shouldn't|without slow|block|delay|hold|keep .. @request|page|down|up|waiting;
        get|move|push|take|put this|it|that|them|the .. off|out of .. @request|thread|loop|server|way; background|async job|task|work|worker|processing; task queue; worker|workers .. grind|crunch|pick|process|handle|do|fetch|churn; jobs may|can|might run|vanish|fail; @slow .. page|browser|request|user|form|web worker|checkout|thread|tab .. while|until|because;
        blocks|block|hangs|freezes|freeze a|the .. @request; retries with|and back-off|backoff; rate limit|limited .. api; limited to # req|requests|calls; fire them off; fire and forget; best effort & send|mail|message|notification;
        queue & @job; after .. upload|uploaded|publish & @job; helpers .. crunch; priorities .. job|queue|paying|parallel; some queue; from|via|through a queue; texts|sms|mails|reminders remind|go out|are sent|sent; in parallel & cap|limit|worker; celery; sidekiq; rq worker
        """,
        {"consumers": "none"},
    ),
    Situation(
        "a loss does no harm",
        {"loss": "tolerable"},
        1.0,
        """
        @miss .. @harmless; @harmless .. if|when|should .. @miss; if|when|should .. @miss .. @again; @miss & click|press|ask|try|request|user|next|nightly .. again|retry|once; may|can|might run|arrive|happen|be|get|vanish|go|come twice|lost|missing|again|late;
        rerun is safe|harmless|fine; safe to repeat|rerun|re-run|retry; idempotent|overwrites & rerun|again|twice|file; when|if they work; nothing|no .. atomic; @never .. atomic .. anything; if|when .. fails|fail .. tomorrow|again|retry|next; not|isn't|nothing .. critical|vital|crucial|essential; nice to have;
        nobody|no_one .. notice|miss|cry|complain|sue|die|hurt|care .. if|when|should|about; forgotten|lost|missing|dropped|failed .. isn't|is|no|not|shows|costs .. tragedy|drama|initials|nothing|harm|fine|problem; loss .. is|are|would .. @harmless; best effort; fire and forget; fire them off
        """,
        {"loss": "must_not_lose"},
    ),
    # Messages that must leave
    Situation(
        "a message must arrive",
        {"loss": "must_not_lose"},
        1.0,
        """
        @mustnot .. @miss .. @message|one|any|it|single|a; @partner|@message|it|they|one|that .. @mustnot .. @miss; every|each|all|any|whatever|anything|once|when|confirmed|finalized|approved .. must|has|have|needs|need|is|are to .. @tell;
        @message|it|one|which|they|booking|order .. has|have|must|needs|need .. to|be|reliably|always|turn .. @tell .. @partner|gap|without|reliably|exactly|fail|inbox|both; without a|any|fail gap|loss|exception|fail; in any event; come what may; without fail; no matter what; under all circumstances; for sure;
        reliabl .. deliver|send|leave|tell|publish|arrive|reach|notify|get; reliable|reliably|guarantee|guaranteed .. @tell|delivery|deliver|message|event|arrive; guarantee .. that .. @tell; @partner .. must|has|have|need|needs|needs|ought .. be told|know|learn|hear|informed|notified|get|receive|told;
        @tell .. of|about it|even if|when|though|while .. down|offline|unreachable|closed|asleep; down until; line .. is|was down; eventually but|certainly|surely|always|definitely; must|has|have definitely|certainly|always|eventually|reliably|absolutely @tell;
        lost|missed|missing|unsent|undelivered|forgotten .. costs|cost|means|would .. fined|penalty|lawsuit|life|lives|money|disaster|trouble|contract|licence; did not|not|never arrive|arrived|reach|reached|come|received .. costs|cost|fined|penalty|sued|trouble|locked; or they refuse; penalty|fined & miss|late|arrive|report|unreported|not;
        must|has|have|needs|need|should|shall reach|arrive|learn|know|told|informed|declared|get|appear|end|known .. @partner2|systems|certainty|reliably|always|certain|exception|offline|both|other|each; @partner2 .. must|have|has to|get .. each|every|told|know|learn|hear|informed; never have the hole; committed means; must .. hear|learn|know|told .. of it|about|within; no|none|not_one|single|never .. may|can|must .. lost|missed|skipped|forgotten|dropped|omitted|left; costs|cost|pay|pays .. a fine; @mustnot .. slip|escape|fall through
        """,
        {"loss": "tolerable"},
        about_others=True,
    ),
    Situation(
        "saving and telling come apart",
        {"loss": "must_not_lose", "dual_write": True},
        1.0,
        """
        @row .. but|while|and|yet|though|without|when|whereas .. @never|ignorant|dark|missing|unaware|fails|failed .. @tell|@message|@partner|ignorant|unaware|dark; @partner .. never|not|didn't|remain|remained|stay|stayed|wasn't|weren't .. @tell|dark|ignorant|unaware|informed|told;
        remain|remains|remained|stay|left .. in the dark|ignorant|unaware|uninformed; never arrived|reached|heard|learned|left|came|received|sent|told|informed|notified|published|shipped; stand or fall together; both or neither; all or nothing; together or not; either both; one without the other; neither both;
        atomic & publish|send|message|event|notify|tell|commit|queue|write|broker|both; atomic|atomically|atomicity .. commit|publish|message|send|write; publish .. commit; commit .. publish; crash|die|dies|killed|reboot|restart|fail|blip|exception|outage .. in between|between|at a bad moment|halfway|wrong moment|in the middle|before .. sent|publish|send|call|told|bad|moment;
        between .. commit|save|insert|saving|write|storing and|the .. send|publish|message|call|telling|broker|queue|sending|notifying; two writes; write|writes twice|both to|to two; rolled back|undone|withdrawn|cancelled|reverted .. still|anyway|although|had|shipped|sent|whose|gone;
        whose .. was|had|been rolled|undone|never|reverted|saved|cancelled; separately & save|safe|store|row|commit|once|sent|notice|goes; once the row; after|once .. commit|save|saved|stored|insert .. send|publish|call|fire|post|emit|notify|goes|go; out of sync; drift|drifts|diverge|diverged|disagree|run apart|out_of_sync|systems;
        nightly|daily|hourly|weekly|manual|by hand|cleanup|reconciliation|comparison|repair .. script|job|comparison|reconciliation|check|sweep|report|list .. repair|fix|find|compare|catch|patch|mend|resend|missing|missed; reconcile|reconciliation & miss|lost|orders|by hand|between|lists|two;
        swallow|swallowed|lost|dropped|ate|vanished|evaporated|loses|lose|missed .. instruction|message|event|order|orders|notice|call|webhook|booking|notification|updates|publish; says one thing|a and|while|another .. partner|never|other|b|thing; table|database|system|row .. says .. but|and|while .. never|other|partner|told|not;
        verified|paid|cancelled|booked|shipped|approved|confirmed|sold|charged .. customers|orders|invoices|tickets|policies|bookings|members .. without|but no|never .. card|cards|ticket|mail|shipment|parcel|invoice|policy|access|cover; db|database .. and .. broker|queue|kafka|rabbitmq|bus|topic & lose|atomic|both|crash|between|fail|inconsisten|roll;
        phantom|ghost order|orders|message|messages|event|events|bookings; sent .. for .. rolled|never|doesn't exist|not exist|failed .. back|saved|order|stored|transaction; bought|paid|purchase .. stored|charged|saved .. while|but|remains; waited in vain; fell through|between the cracks|stools; sometimes|occasionally|now and then|rarely|once a week|every so often .. never|lost|missing|not .. @tell|sent|arrive|arrives
        """,
        {"dual_write": False},
        about_others=True,
    ),
    Situation(
        "other programs listen",
        {"consumers": "services"},
        0.6,
        """
        @tell .. @partner|other services|systems; @partner .. consume|subscribe|listen|are told|is told|be told|informed|notified; events|messages between services|systems; domain event; webhook; kafka between; rabbitmq between; @partner .. and .. @partner .. are|is|be|must .. told|informed|notified;
        posts|post|sends|send|calls|call .. to .. api|service|partner|system|gateway; duplicates are|is harmless|fine|ok; microservices
        """,
        {"consumers": "none"},
        about_others=True,
    ),
    Situation(
        "the writer cannot change",
        {"write_path_changeable": False},
        1.0,
        """
        @never .. change|touch|modify|rebuild|alter|recompile|patch .. source|code|program|application|legacy|vendor|cobol|mainframe|package|software|it; closed source; vendor .. @never .. change|open|source; source code .. lost|gone|not|no; nobody|no_one .. dares|can|knows .. code|program|source|touch;
        bought|packaged|vendor's|legacy|off-the-shelf software|system|application|program .. @never; read only access|only|access to .. database|tables; frozen|black box|cobol
        """,
    ),
    # Reads
    Situation(
        "reads far outnumber writes",
        {"read_asymmetry": "high"},
        1.0,
        """
        reads|look-ups|views|searches|queries per|to|for|against each|every|one|a|# write|writes|edit|update|change|booking; %huge .. page|view|visitor|search|look|load|query|hit|visit|reader|request|home|user; @look .. by the million|thousand|millions|thousands; read|look|searched|viewed|reads|search .. far|much|vastly|hundred|thousand|many more|times than|often|outnumber;
        outnumber; dwarf; read-heavy; read heavy; mostly read|reads|reading; hardly|rarely|seldom|few .. write|change|edit|updates|writes & read|look|search|view|visitor; edit|alter|change|write|enter .. few|hundred|thousand|#|couple|handful .. while|visitor|people|readers|but|and|visitors .. million|%huge|look|open|search|browse|hunt|page;
        @people|@look .. refresh|refreshed|poll|polls|reload|hammer .. every|each|per .. second|seconds|minute; @look|query|queries|report|reports|searching|readers|dashboard .. @strain; @strain .. @look|queries|reports|readers|searching; @look .. @strain .. editors|booking|writers|saving|desk|tables|database|production|checkout|orders|cashier|transactional|clerks;
        write side|editing|desk|entering|filing|capturing|recording .. fine|stay|as it is|rules of its own|not be bent|alone|trouble|problem; leave the .. alone; traffic .. reads|read; peak|peaks|sunday|weekend|monday & page|search|visitors|look
        """,
        {"read_asymmetry": "low"},
    ),
    Situation(
        "readers need the data prepared",
        {"read_shapes": "several", "read_asymmetry": "high"},
        1.0,
        """
        @join .. from|of|over|across|out|more .. #|many|dozen|several|different|all|half|every|places|various @store_words; @join .. # @store_words; # tables|sources|joins|services|systems .. one page|screen|list|row|view|query|line; joins .. at query time|each|every|tables|over|across|#; # joins; query|queries|report|select|sql of|with|has # lines|joins|tables; join|joins .. to its|their|tables;
        one|a|single line|row|list|page|screen|view per|for|with .. each|every|car|customer|and & combine|overview|gather|join; combines|combine .. and .. in|into one|a|single line|row|list|page|view|screen; @prepared .. per|for|copy|table|list|which|screen|that|each|view|look|read|search|readers|of; something|want|need|give|with|have|prefer|like|into|build|feed|maintain|keep .. @prepared;
        lists|views|tables|data prepared|shaped|tailored|made|cut|arranged|built per|for each|every|a|the|their screen|role|reader|group|page|question|audience; asking and|versus the|from deciding; reading and|from writing; separate|split|divorce|different|two .. reads|reading|queries|asking|looking|showing .. from|and|things .. writes|writing|deciding|editing|saving|different|things|changing;
        for|when looking|reading|searching|browsing .. want|need|something|flat; each|every|new new|screen|question|view|report|role|page|dashboard .. means|needs|wants|requires|brings|costs .. another|own|its|different|yet|new query|index|report|cut|shape|view|sql|order|screen|join; index .. makes|make|slows|making .. saving|writes|inserts|booking|slower;
        each|every role|department|group|screen|team|desk|audience|visitor .. own|different|another view|screen|cut|list|shape|question|picture|way|dashboard|angle; different|several|many|various|dozen|five|four|six|three views|shapes|screens|cuts|angles|questions|dashboards|projections|representations .. of|on|from|same|data; same data|tables|rows|facts|numbers .. different|several|many|ways|everybody|everyone|screens|shapes;
        answer questions from .. everybody|everyone|all|departments; copied into .. document|index|each; filterable|filter|narrow .. by|in any|anything|everything|down|way; home pages assembled; assembled per; composed of .. and; by region .. by|and; dashboards & slow|kill|join|tables|load; search|full-text|faceted .. across|over|index & join|tables|cases|everything|catalog|million
        """,
        {"read_shapes": "one"},
    ),
    Situation(
        "readers may see old data",
        {"staleness": "eventual_ok"},
        1.0,
        """
        %window|few|half|slight|bit|little|minute|seconds|couple|moment .. @late .. fine|ok|okay|acceptable|all|right|tolerable|nobody|enough|good|is|allowed; @late .. fine|ok|okay|acceptable|all_right|tolerable|enough|good|harmless; fine|ok|all_right|acceptable|tolerable|good|may|can|be|allowed|happily|mind .. seconds|minute|half|slight|bit|few|little|%window .. @late|after;
        slight|short|small delay|lag; needn't|doesn't|not|don't .. be|need up to the second|date|minute|real time|instant|live; may appear|show|turn .. seconds|minute|minutes|later|after; eventual consistency; eventually consistent; few seconds late|later|after|old|behind|delay
        """,
        {"staleness": "strict_all"},
    ),
    Situation(
        "readers must see each write at once",
        {"staleness": "strict_all"},
        1.0,
        """
        must|need|has|have see|show|visible|reflect|appear .. immediately|instantly|at once|right away|straight away; read your own writes|write; read-your-writes; strictly|always consistent|up to date|current; no stale|delay|lag; real-time balance
        """,
    ),
    Situation(
        "many change the same entity",
        {"contention": "high"},
        1.0,
        "same seat|item|ticket|slot|row|record|room|product|stock .. at once|same time|simultaneously|concurrently; oversell|overbook|double-book|double book; race condition; concurrent edits|changes|updates; fight|compete over|for the|same; last one wins; collide",
    ),
    # Measurements
    Situation(
        "measurements arrive at a high rate",
        {"record_kind": "measurements", "throughput": "high", "stream_growth": "unbounded"},
        1.0,
        """
        %fast @signal|values|readings|messages|views|signals|positions|events; @signal .. %fast; @signal|values .. # .. times a|per second; # .. times|signals|readings|values|samples|messages|positions per|a|each|every second; # @signal & per|each|every second|seconds|# & sensor|device|turbine|trailer|truck|car|machine|motor|meter|bike;
        %fast & @crunch; %fast & @signal; khz; hz; kilohertz; hertz; %fast .. and .. %window; @signal .. every|each # seconds|second|millisecond|milliseconds|minute; every|each # seconds|second|millisecond|milliseconds & @signal; many times per|a|each|every second; %huge @signal|messages|events|readings|clicks|pings|values .. per|a|an|each|every day|hour|minute|second;
        firehose; torrent .. of; flood of @signal; thousands|millions|hundreds of .. sensors|devices|meters|trackers|machines|scooters|vehicles|trailers|thermostats & send|emit|report|reading|signal|stream|ping|data
        """,
        {"throughput": "low"},
    ),
    Situation(
        "numbers are computed over windows",
        {"record_kind": "measurements"},
        0.7,
        """
        @crunch .. %window; %window & @signal|@crunch; =rolling|=sliding|=moving|=tumbling .. window|minutes|seconds|hour|average|half|stretches|second|minute|five|ten|#|fft; per|by|within|each minute|second .. and|by|per .. campaign|section|symbol|feeder|zone|street|sensor|device|turbine|page|player; tallied by; counted per; @signal & @crunch; volatility; fft; heatmap; heatmaps; anomaly detection; downsample;
        within|inside|in # milliseconds|millisecond & alarm|alert|warn|say|detect|score|decide; jams .. before; latest|last|past|previous|preceding .. %window|minutes|seconds|hour & compare|count|against|same|more|unusual|average|per; rewind; replay|run .. earlier point|again|at will|traffic|last month|last week & signal|model|formula|rule|traffic|stream|bug|reprocess
        """,
    ),
    Situation(
        "lost measurements do no harm",
        {"record_kind": "measurements", "loss": "tolerable"},
        0.7,
        "gap|gaps|hole|holes|lost|missing|dropped & values|reading|signal|sensor|drawn|radio|curve|samples & fine|ok|harmless|drawn|life|matter|no|interpolate; owe nobody a record; raw|signals|values|data & kept|keep|keeps|discard|week|days|thrown .. week|days|longer|after|hours; late|out .. order & signal|values|readings|deliver; stragglers; clocks|clock wrong|drift|skew",
    ),
    # Circumstances
    Situation(
        "the load is low",
        {"throughput": "low"},
        0.8,
        "volume|traffic|load|throughput is|tiny|low|small|joke|modest|negligible; not|isn't|no .. big data|streaming|much traffic|high volume; # a|per day|week|month & handful|joke|merely|only|just|dozens; vol tiny; few a|per day|week; once an|a|per hour|day|week|month .. reading|measure|value|one",
    ),
    Situation(
        "personal data must be erased",
        {"personal_data": "erasure"},
        1.0,
        "right to be forgotten; gdpr .. erase|delete|erasure|deletion; erasure request|requests; delete|erase .. personal|customer's|patient|user data .. on|upon|request|after; dsgvo; rather have .. data gone; anonymize",
    ),
    Situation(
        "the team is new to events",
        {"team_experience": "none"},
        1.0,
        "never|none|nobody|no_one .. built|used|done|experience|worked|know|heard .. events|event|event-sourced|cqrs|messaging|it|sourcing|kafka; juniors|interns|beginner|beginners|first project|hobby programmer; new to event|cqrs|messaging|this; no experience",
        {"team_experience": "some"},
    ),
    Situation(
        "the team knows events",
        {"team_experience": "strong"},
        1.0,
        "years|lot of experience .. event|cqrs|messaging|streams; have|has built .. event|event-sourced|cqrs; experienced .. event|cqrs|team",
    ),
)
