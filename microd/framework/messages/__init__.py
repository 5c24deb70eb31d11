"""Messages between services: the broker's, which reach who listens now, and events, which are kept.

What an author sees is in L{microd.framework.messages.broker}, L{microd.framework.messages.events} and
L{microd.framework.messages.subscriber}.
"""
