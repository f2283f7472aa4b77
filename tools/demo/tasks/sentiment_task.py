"""A product review -> one label of two parts: what the reviewer speaks about, and whether it pleased."""

import tasks
from words import CITY, FIRST

TRADE = "product review → one of twelve labels (topic/polarity)"

INSTRUCTION = (
    "Label the review with what it is about and whether the reviewer was pleased. Topics: price, quality, delivery, "
    "support, size, setup. Polarity: positive or negative. Answer with topic/polarity alone, for example size/negative."
)

PRODUCTS = {
    "train": """lamp|kettle|backpack|jacket|headset|keyboard|vacuum|blender|tent|pillow|office chair|camera|watch|
        printer|toaster|umbrella|bicycle|helmet|sofa|monitor|router|suitcase|razor|coffee maker|radio|
        fan|heater|desk|mattress|phone case""".replace("\n", "").replace("  ", "").split("|"),
    "test": """hammock|drone|violin|microscope|scooter|projector|sweater|lantern|stroller|skateboard|telescope|
        dishwasher|tablet|treadmill|aquarium""".replace("\n", "").replace("  ", "").split("|"),
}

# What the review says, by label: (said in training, said only in testing).
REMARKS = {
    "price/positive": (
        ["I paid far less than I expected.", "It was a real bargain.", "Great value for the money.", "Very cheap for what it does.",
         "It costs half of what other shops ask.", "The price is more than fair.", "I got it for next to nothing on sale.",
         "Well worth every cent.", "You won't find a better deal.", "Such a low price made me happy.",
         "It saved me a lot of money.", "The discount was fantastic."],
        ["It cost me very little money.", "What a good deal, so cheap!", "Worth the price, every cent of it.",
         "Others ask double the price for the same thing."],
    ),
    "price/negative": (
        ["It is far too expensive.", "I paid way too much for it.", "Not worth the money at all.", "What a rip-off.",
         "It costs twice as much as elsewhere.", "The price is outrageous.", "Overpriced for what it does.",
         "A week later it was much cheaper in another shop.", "I regret spending so much on it.",
         "The high price is hard to justify.", "A waste of money.", "They charged me extra fees on top."],
        ["It cost me way too much money.", "Much too expensive for such a thing.", "The price is far too high.",
         "I found it cheaper in another shop the day after."],
    ),
    "quality/positive": (
        ["It is built like a tank.", "The materials feel solid.", "After two years it still works like new.",
         "Excellent workmanship.", "It is very sturdy and well made.", "The finish is flawless.",
         "It survived several falls without a scratch.", "Nothing wobbles or rattles.", "It feels like it will last forever.",
         "Top quality from the first to the last screw.", "The stitching is strong and neat.", "It hasn't broken in years of daily use."],
        ["It is solid and really well made.", "After years of use it still looks like new.", "The quality is excellent.",
         "Strong materials, nothing about it feels flimsy."],
    ),
    "quality/negative": (
        ["It broke after two days.", "The plastic feels flimsy.", "It fell apart within a week.", "Poor workmanship.",
         "The paint is already peeling off.", "It stopped working after a month.", "A part snapped off the first time I used it.",
         "It rattles and wobbles.", "The seams came undone at once.", "It is badly made.", "The handle cracked right away.",
         "It scratches as soon as you look at it."],
        ["It broke the first time I used it.", "Flimsy plastic, it cracked within a week.", "It is poorly made and fell apart.",
         "It stopped working after only three days."],
    ),
    "delivery/positive": (
        ["It arrived a day early.", "Shipping was incredibly fast.", "The parcel came the next morning.",
         "It was delivered right on time.", "The courier was quick and careful.", "It was at my door within hours.",
         "I could track the package all the way.", "The box arrived without a dent.", "Lightning-fast dispatch.",
         "It was shipped the same day.", "The driver even carried it upstairs.", "It reached me sooner than promised."],
        ["The package arrived two days early.", "Very fast shipping, it came the next day.", "The parcel was delivered sooner than promised.",
         "It was shipped at once and the courier was on time."],
    ),
    "delivery/negative": (
        ["It arrived three weeks late.", "The parcel never came.", "The courier left it out in the rain.",
         "Shipping took forever.", "The box was crushed when it got here.", "It was sent to the wrong address.",
         "The package got lost twice.", "The tracking never worked and nobody knew where it was.",
         "The driver threw it over the fence.", "I waited a month for the parcel.", "Delivery was delayed again and again.",
         "They shipped it a week after they promised."],
        ["The package arrived a month late.", "The shipping was very slow, I waited for weeks.", "The courier lost the parcel.",
         "The parcel was delivered to the wrong house."],
    ),
    "support/positive": (
        ["Customer service answered within minutes.", "The staff helped me right away.", "The hotline solved my problem at once.",
         "The support team was friendly and patient.", "They replaced it without any questions.",
         "The agent on the phone was very helpful.", "My email got a kind reply the same day.",
         "The helpdesk went out of its way for me.", "They refunded me immediately when I asked.",
         "The woman in the chat knew exactly what to do.", "Their service people are a delight.", "I called and got a real expert."],
        ["The customer service was friendly and helped me at once.", "The agent in the chat was very patient with me.",
         "My question to the support team got a quick and kind answer.", "I called the hotline and they solved everything."],
    ),
    "support/negative": (
        ["Customer service never answered my emails.", "The staff was rude to me.", "I was on hold for two hours.",
         "The hotline hung up on me.", "Nobody at the helpdesk could help.", "They refused to give me a refund.",
         "The support team ignored my complaint.", "The agent on the phone had no idea.", "My ticket has been open for weeks.",
         "I got nothing but automatic replies.", "The chat agent was impolite and useless.", "They keep passing me from one person to the next."],
        ["The customer service ignored all my emails.", "The agent on the phone was rude and useless.",
         "The hotline kept me on hold for an hour and nobody helped.", "The support team refused to help me."],
    ),
    "size/positive": (
        ["It fits perfectly.", "It is just the right size.", "Small enough for my shelf.", "It has plenty of room.",
         "The dimensions are exactly as listed.", "It is compact and fits in any corner.", "It fit right where I wanted it.",
         "Nice and roomy.", "It is neither too big nor too small.", "It fits in my bag with space to spare.",
         "The measurements were spot on.", "It takes up very little space."],
        ["The size is perfect, it fits just right.", "It is compact and takes little space.", "The dimensions are spot on for my room.",
         "It fits exactly, not too big and not too small."],
    ),
    "size/negative": (
        ["It is much too small.", "It is far bigger than it looks in the picture.", "It doesn't fit at all.",
         "It is too large for my room.", "The dimensions are wrong.", "It is tiny.", "It runs two sizes too small.",
         "It is too wide for the door.", "It hardly holds anything.", "It is so bulky that I can't store it.",
         "It is too short for me.", "The measurements on the page were off by a lot."],
        ["It is way too big and does not fit.", "Too small for me, sadly.", "The size is wrong, it is too large.",
         "It is so tiny that nothing fits."],
    ),
    "setup/positive": (
        ["It was ready to use in five minutes.", "The instructions are crystal clear.", "Assembly was child's play.",
         "It was easy to install.", "I plugged it in and it worked.", "The manual explains every step well.",
         "Putting it together took no time.", "No tools needed to assemble it.", "Installing it was a breeze.",
         "The guide has good pictures for each step.", "It configured itself.", "Getting started could not be simpler."],
        ["It was very easy to assemble.", "The manual is clear and the installation took five minutes.",
         "Putting it together was simple.", "The instructions explain each step very well."],
    ),
    "setup/negative": (
        ["The instructions make no sense.", "It took me four hours to assemble.", "The manual is only in a language I can't read.",
         "Installing it was a nightmare.", "Half of the screws for the assembly were missing.", "I still can't get it configured.",
         "Putting it together needs three people.", "The guide skips the most important steps.",
         "It was impossible to install.", "The setup kept failing.", "I gave up on assembling it.", "The manual is confusing."],
        ["It was very hard to assemble.", "The manual is confusing and the installation took me hours.",
         "Putting it together was a nightmare.", "The instructions skip important steps and make no sense."],
    ),
}

# Words around the remark that say nothing about the label: (in training, only in testing).
BEFORE = (
    ["I bought this {p} for {f}.", "Ordered the {p} last month.", "My second {p} from this shop.", "About the {p}:",
     "{f} wanted a {p}, so I got one.", "This {p} was a gift for {f}.", "We use the {p} at home in {c}.", "New {p} for our place in {c}.",
     "Got the {p} on {f}'s advice.", "The {p} is for my office in {c}.", "", ""],
    ["Here is my review of the {p}.", "{f} and I bought a {p} for the flat in {c}.", "I needed a {p} in {c}.",
     "My friend {f} told me to get this {p}."],
)
AFTER = (
    ["", "", "", "{f} thinks so too.", "That is all I have to say.", "Just so you know.", "I will write more later.", "Greetings from {c}."],
    ["", "", "{f} said the same.", "That was my experience in {c}."],
)


def normal(text):
    return tasks.strip_fence(text).rstrip(".").replace(" ", "").lower()


def example(rng, words, phrasing):
    label = rng.choice(list(REMARKS))
    which = 0 if phrasing == "train" else 1
    slots = {"p": rng.choice(PRODUCTS[words]), "f": rng.choice(FIRST[words]), "c": rng.choice(CITY[words])}
    parts = [rng.choice(choices[which]) for choices in (BEFORE, REMARKS[label], AFTER)]
    used = {slots[key] for key in slots if any(f"{{{key}}}" in part for part in parts)}
    return " ".join(part.format(**slots) for part in parts if part), label, used
