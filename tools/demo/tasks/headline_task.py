"""A short news text -> a headline: who, a verb in the present tense, and what, in title case."""

import tasks
from words import CITY, LAST, coin, coin_name, pick

TRADE = "short news text → headline"

INSTRUCTION = (
    "Write the headline of the news text in the form who - verb - what: the place or company first, the verb in the present "
    "tense, no articles, no dates, every word capitalised, no full stop. For example: Paris Council Opens New Park. "
    "Answer with the headline alone."
)

THINGS = {
    "train": """library|bridge|swimming pool|tram line|hospital|market hall|parking garage|football stadium|concert hall|
        bike path|town square|fire station|playground|power plant|bus terminal|art gallery|shopping mall|sports center|
        theater|water tower|train station|harbor|zoo|cinema|campus""".replace("\n", "").replace("  ", "").split("|"),
    "test": """museum|airport|lighthouse|botanical garden|skate rink|tunnel|courthouse|funicular|planetarium|
        canal|brewery|dam|observatory|cathedral""".replace("\n", "").replace("  ", "").split("|"),
}

FIRMS = {
    "train": """Nortek Solvio Brightware Petrona Halmar Quintex Agrona Velcor Lumina Stratos Kelvo Medixa Ferrum Orbita
        Tandem Calypso""".split(),
    "test": "Zephyra Bolder Mirado Xandex Ubiqo Jorvik Pellucid Dynamo".split(),
}

# Who acts: (in the text, in the headline). {c} a city, {l} a last name, {o} a firm.
ACTORS = {
    "train": [
        ("The city council of {c}", "{c} Council"),
        ("The {c} city council", "{c} Council"),
        ("The mayor of {c}", "{c} Mayor"),
        ("Mayor {l} of {c}", "{c} Mayor"),
        ("Residents of {c}", "{c} Residents"),
        ("People living in {c}", "{c} Residents"),
        ("Students in {c}", "{c} Students"),
        ("The university of {c}", "{c} University"),
        ("The technology company {o}", "{o}"),
        ("{o}, a company based in {c},", "{o}"),
        ("The car maker {o}", "{o}"),
        ("The engineering firm {o}", "{o}"),
    ],
    "test": [
        ("The council of the city of {c}", "{c} Council"),
        ("The mayor of the city of {c}, {l},", "{c} Mayor"),
        ("The residents of the city of {c}", "{c} Residents"),
        ("The students of {c}", "{c} Students"),
        ("The company {o} from {c}", "{o}"),
        ("The software maker {o}", "{o}"),
    ],
}

# What they did: (headline, in the text of training, in the text of testing only). {T} and {t} the thing. The
# headline's verb stands in the plural here.
ACTIONS = [
    ("Approve New {T}",
     ["approved the construction of a new {t}", "approved plans for a new {t}", "gave its approval to a new {t}"],
     ["approved plans for the construction of a new {t}"]),
    ("Reject New {T}",
     ["rejected the construction of a new {t}", "rejected plans for a new {t}", "turned down the idea of a new {t}"],
     ["rejected plans for the construction of a new {t}"]),
    ("Close Old {T}",
     ["closed the old {t}", "closed the old {t} for good", "shut down the old {t}"],
     ["closed down the old {t}"]),
    ("Open New {T}",
     ["opened a new {t}", "opened the new {t} with a ceremony", "celebrated the opening of a new {t}"],
     ["celebrated the opening of the new {t}"]),
    ("Repair Damaged {T}",
     ["repaired the damaged {t}", "repaired the {t} that was damaged in a storm", "finished repairs to the damaged {t}"],
     ["finished the repairs to the damaged {t}"]),
    ("Buy Historic {T}",
     ["bought the historic {t}", "bought the historic {t} for an undisclosed sum", "acquired the historic {t}"],
     ["acquired the historic {t} for an undisclosed sum"]),
    ("Sell Empty {T}",
     ["sold the empty {t}", "sold the empty {t} to an investor", "found a buyer for the empty {t}"],
     ["found an investor to buy the empty {t}"]),
    ("Protest Against {T}",
     ["protested against the planned {t}", "took to the streets against the {t}", "held a protest against the {t}"],
     ["held a protest against the planned {t}"]),
    ("Delay {T} Opening",
     ["delayed the opening of the {t}", "pushed back the opening of the {t}", "postponed the opening of the {t}"],
     ["postponed the opening of the new {t}"]),
    ("Raise {T} Fees",
     ["raised the fees for the {t}", "raised the entrance fees of the {t}", "made the {t} more expensive to use"],
     ["raised the fees of the {t}"]),
    ("Cut {T} Budget",
     ["cut the budget of the {t}", "cut spending on the {t}", "reduced the budget for the {t}"],
     ["reduced the budget of the {t}"]),
    ("Rename {T}",
     ["renamed the {t}", "renamed the {t} after a local artist", "gave the {t} a new name"],
     ["gave a new name to the {t}"]),
    ("Win Award For {T}",
     ["won an award for its {t}", "won a design award for the {t}", "received a prize for the {t}"],
     ["received an award for the {t}"]),
    ("Demand New {T}",
     ["demanded a new {t}", "demanded that a new {t} be built", "called for a new {t}"],
     ["called for a new {t} to be built"]),
    ("Celebrate {T} Anniversary",
     ["celebrated the anniversary of the {t}", "marked the anniversary of the {t} with a party", "held a feast for the anniversary of the {t}"],
     ["marked the anniversary of the {t}"]),
]
MANY = ("Residents", "Students")  # actors whose verb stands in the plural

# The sentences around the news: (in training, only in testing). {a} the actor and {n} the news.
FRAMES = (
    ["{a} {n} on {d}.", "{a} {n} on {d} after a long debate.", "{a} {n}. The decision was made public on {d}.",
     "{a} {n} this week. Work on it took three years.", "{a} {n}. A spokesperson confirmed this on {d}.",
     "{a} {n}. Some critics called it a mistake.", "{a} {n} last {d}. Many people welcomed the step.",
     "After months of talks, {a} {n}.", "On {d}, {a} {n}. Costs were not mentioned."],
    ["{a} {n}, according to a report on {d}.", "{a} {n}. The news came as a surprise to many.", "Last {d}, {a} {n}. Nobody gave a reason.",
     "{a} {n}, it was announced on {d}."],
)
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()


def normal(text):
    return " ".join(tasks.strip_fence(text).strip('"').rstrip(".").split())


def coin_thing(rng):
    return " ".join(coin(rng) for _ in range(rng.randint(1, 2)))


def example(rng, words, phrasing):
    which = 0 if phrasing == "train" else 1
    slots = {key: pick(rng, words, names[words], coin_name) for key, names in (("c", CITY), ("l", LAST), ("o", FIRMS))}
    thing = pick(rng, words, THINGS[words], coin_thing)
    actor, short = rng.choice(ACTORS[phrasing])
    used = {thing} | {slots[key] for key in slots if f"{{{key}}}" in actor}
    actor, short = actor.format(**slots), short.format(**slots)
    action, *news = rng.choice(ACTIONS)
    frame = rng.choice(FRAMES[which])
    if not frame.startswith("{a}") and actor.startswith(("The", "Residents", "People", "Students")):
        actor = actor[0].lower() + actor[1:]
    prompt = frame.format(a=actor, n=rng.choice(news[which]).format(t=thing), d=rng.choice(DAYS))
    verb, rest = action.format(T=thing.title()).split(" ", 1)
    if not short.endswith(MANY):
        verb += "s"
    return prompt, f"{short} {verb} {rest}", used
