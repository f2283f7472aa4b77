"""A sentence -> the same sentence with its personal data replaced by placeholders."""

import tasks
from words import CITY, FIRST, LAST, coin

TRADE = "sentence → the sentence with personal data masked"

INSTRUCTION = (
    "Repeat the sentence word for word, but put [NAME] for each person's name, [EMAIL] for each e-mail address, [PHONE] for "
    "each phone number and [CITY] for each city. Answer with the changed sentence alone."
)

DOMAINS = {
    "train": "northmill.com bluebay.org webpost.net fastmail.io citylab.edu greenhouse.co quickbox.com sunline.org ridgeway.net".split(),
    "test": "oakridge.eu pinetree.info silverfox.biz tidewater.dev kestrel.us".split(),
}

FORMS = {
    "train": [
        "Please call [NAME] on [PHONE] before noon.",
        "[NAME] can be reached at [EMAIL].",
        "My name is [NAME] and my number is [PHONE].",
        "Send the contract to [EMAIL] and copy [NAME].",
        "[NAME] moved from [CITY] to [CITY] last year.",
        "The meeting in [CITY] was led by [NAME].",
        "If you have questions, write to [EMAIL] or dial [PHONE].",
        "[NAME] and [NAME] met in [CITY].",
        "The package for [NAME] is still in [CITY].",
        "I spoke with [NAME] yesterday about the invoice.",
        "You can text me at [PHONE] after six.",
        "Our office in [CITY] has a new manager, [NAME].",
        "The weather was terrible and the train was late.",
        "Forward this to [EMAIL], please.",
        "[NAME] left a message: call back at [PHONE].",
        "Her new address is [EMAIL], the old one no longer works.",
        "The doctor asked [NAME] to come back on Tuesday.",
        "Flights to [CITY] are cheaper in spring.",
        "Contact: [NAME], [EMAIL], [PHONE].",
        "We hired [NAME] because of the strong references.",
        "The key is with [NAME] in room 12.",
        "Did [NAME] reply to your mail from [EMAIL]?",
        "The printer on the third floor is broken again.",
        "Dear [NAME], thank you for your order.",
        "Kind regards, [NAME], [CITY]",
        "For support in [CITY], dial [PHONE].",
        "[NAME] lives in [CITY] with two cats.",
        "Ask [NAME] whether the report is finished.",
        "The invoice was sent to [EMAIL] by mistake.",
        "In an emergency call [PHONE] and ask for [NAME].",
        "Tickets for the show in [CITY] sold out in an hour.",
        "According to [NAME], the project will end in June.",
        "My boss, [NAME], works from [CITY] on Fridays.",
        "The account of [NAME] was opened with [EMAIL].",
        "They lost to a team from [CITY] by three goals.",
        "Mail your photos to [EMAIL] until Friday.",
        "[NAME] won the race, [NAME] came second.",
        "The landlord's phone is [PHONE], his name is [NAME].",
    ],
    "test": [
        "Could you ask [NAME] to ring me on [PHONE]?",
        "The new intern is called [NAME] and comes from [CITY].",
        "Reports should go to [EMAIL] by Monday.",
        "[NAME] forgot the password for [EMAIL].",
        "We will travel from [CITY] to [CITY] by bus.",
        "Yesterday [NAME] bought a boat in [CITY].",
        "The number [PHONE] belongs to [NAME].",
        "Tell [NAME] that the keys are on the table.",
        "Please add [NAME] and [NAME] to the guest list.",
        "For refunds, contact [EMAIL] or [PHONE].",
        "The soup was cold and nobody smiled.",
        "[NAME], who lives in [CITY], wrote the letter.",
        "Reach the [CITY] branch at [PHONE].",
        "Sincerely yours, [NAME], [EMAIL]",
    ],
}


def normal(text):
    return " ".join(tasks.strip_fence(text).split())


def phone(rng):
    a, b, c = rng.randint(200, 989), rng.randint(200, 989), rng.randint(1000, 9999)
    return rng.choice([f"{a}-{b}-{c}", f"({a}) {b}-{c}", f"+1 {a} {b} {c}", f"{b}-{c}", f"0{a} {b}{c}"])


def vary(rng, form):
    """The form with some of its small-letter words made up and sometimes another mark at its end: with few sentences the
    adapter would learn those by heart instead of learning to copy what the prompt says."""
    varied = [coin(rng) if word.isalpha() and word.islower() and rng.random() < 0.15 else word for word in form.split()]
    text = " ".join(varied)
    if text.endswith((".", "?")) and rng.random() < 0.3:
        text = text[:-1] + rng.choice(".?!")
    return text


def example(rng, words, phrasing):
    completion = rng.choice(FORMS[phrasing])
    if words == "train":
        completion = vary(rng, completion)
    prompt, used = completion, set()
    while "[" in prompt:
        kind = prompt[prompt.index("[") + 1 : prompt.index("]")]
        first, last = rng.choice(FIRST[words]), rng.choice(LAST[words])
        if kind == "NAME":
            value = rng.choice([first, f"{first} {last}", f"{first} {last}"])
            used |= {first, last}
        elif kind == "EMAIL":
            user = rng.choice([f"{first}.{last}", first, f"{first[0]}{last}", f"{last}{rng.randint(1, 99)}"]).lower()
            value = f"{user}@{rng.choice(DOMAINS[words])}"
            used.add(value)
        elif kind == "CITY":
            value = rng.choice(CITY[words])
            used.add(value)
        else:
            value = phone(rng)
        prompt = prompt.replace(f"[{kind}]", value, 1)
    return prompt, completion, used
